"""launcher: ssh with a real sshd, which the test starts as its own child: on addresses that stand for two hosts, with keys and files
of its own. Without sshd the test says that it was skipped."""

import contextlib
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import BIN, RANKING, Cluster, is_running, make_keys, models, training, wait_for

SSHD = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")

# What a shell would make something of, if it were let.
FOLDER = "it's \"one\" $(touch injected) & `touch injected`; folder"

CLUSTER = """
cluster:
  name: ssh
  launcher: ssh
  ssh:
    {ssh}
  security: curve
  keys: keys
  partitions: 16
  scheduler: {{host: 127.0.0.1, port: 0}}
  servers:
    - {{name: s0, host: 127.0.0.2, shards: 2}}
    - {{name: s1, host: 127.0.0.3, shards: 2}}
  workers:
    - {{name: w0, host: 127.0.0.2, threads: 1, device: cpu}}
    - {{name: w1, host: 127.0.0.3, threads: 1, device: cpu}}
  checkpoints: {{every_seconds: 0.3, folder: checkpoints}}
  heartbeat_seconds: 0.2
  lease_seconds: 3
"""

SSHD_CONFIG = """
ListenAddress 127.0.0.2:{port}
ListenAddress 127.0.0.3:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
"""


def sweep(epochs):
    return models(epochs, RANKING) + (
        "sweep: {method: grid, models: [ranking], workers_per_trial: 2, consistency: {mode: async}, chunk_batches: 2}\n"
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        return probe.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.2", port), timeout=5) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def processes():
    """All of the machine as {pid: (parent, [words])}."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if is_running(int(entry.name)):
                found[int(entry.name)] = (parent, words)
    return found


class Sshd:
    """Two hosts that a client may log in to, and the client's configuration."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-sshd-"))
        self.port = free_port()
        for name in ("host_key", "client_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        shutil.copy(self.folder / "client_key.pub", self.folder / "authorized_keys")
        host_key = (self.folder / "host_key.pub").read_text()
        known = "".join(f"[{host}]:{self.port} {host_key}" for host in ("127.0.0.2", "127.0.0.3"))
        (self.folder / "known_hosts").write_text(known)
        (self.folder / "unknown_hosts").write_text("")
        (self.folder / "sshd_config").write_text(SSHD_CONFIG.format(port=self.port, folder=self.folder))
        (self.folder / "ssh_config").write_text("")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.log = open(self.folder / "log", "w")
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=self.log)
        wait_for(lambda: self.process.poll() is not None or answers(self.port), "sshd answers", 20)
        if self.process.poll() is not None:
            raise RuntimeError("sshd: " + (self.folder / "log").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        shutil.rmtree(self.folder)

    def options(self, hosts="known_hosts", **more):
        keys = {
            "user": getpass.getuser(),
            "port": self.port,
            "identity_file": self.folder / "client_key",
            "config_file": self.folder / "ssh_config",
            "options": f"[UserKnownHostsFile={self.folder}/{hosts}, IdentitiesOnly=yes]",
            **more,
        }
        return "\n    ".join(f"{key}: {value}" for key, value in keys.items())


class SshCluster(Cluster):
    def __init__(self, ssh, epochs=1):
        super().__init__(sweep(epochs), cluster_text=CLUSTER.format(ssh=ssh))
        folder = self.folder / FOLDER
        folder.mkdir()
        make_keys(folder / "keys")
        self.cluster_file = self.cluster_file.rename(folder / "cluster.yaml")
        self.data = pathlib.Path(shutil.copy(self.data, folder / "data.mq"))

    def at_hosts(self, without=()):
        """Servers and workers at the far ends: {name: pid}."""
        found = {}
        for pid, (_, words) in processes().items():
            if str(self.cluster_file) in words and os.path.basename(words[0]) in ("ps", "worker") and pid not in without:
                self.seen_children[pid] = " ".join(words)
                found[words[words.index("--name") + 1]] = pid
        return found

    def all_there(self):
        return self.running() and len(self.at_hosts()) == 4

    def session_of(self, pid):
        """The sshd process of the connection that a process at a far end hangs on."""
        table = processes()
        while pid in table and "sshd" not in table[pid][1][0]:
            pid = table[pid][0]
        return pid


class SshTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sshd = cls.enterClassContext(Sshd())

    def check_finished(self, cluster):
        self.assertEqual(cluster.wait(), 0)
        trial = cluster.leaderboard()["trials"][0]
        self.assertEqual(trial["status"], "finished")
        self.assertEqual(cluster.at_hosts(), {}, "nothing is left at the hosts")

    def test_runs_on_its_hosts_with_files_of_any_name(self):
        with SshCluster(self.sshd.options(environment="{MARQUEE_WORD: \"it's $HOME\"}", prefix='[nice, -n, "3"]'), epochs=4) as cluster:
            cluster.start()
            wait_for(cluster.all_there, "all processes at the hosts")
            for name, pid in cluster.at_hosts().items():
                variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
                self.assertIn("MARQUEE_WORD=it's $HOME", variables, name)
                self.assertIn("OMP_NUM_THREADS=1", variables, name)
                self.assertEqual(os.getpriority(os.PRIO_PROCESS, pid), os.getpriority(os.PRIO_PROCESS, 0) + 3, name)
                self.assertTrue(cluster.session_of(pid) in processes(), "it hangs on a connection to sshd")
            wait_for(lambda: cluster.endpoints() and len(cluster.endpoints()) == 5, "all have registered")
            self.assertTrue(cluster.endpoints()["s1"]["listens"][0].startswith("tcp://127.0.0.3:"))
            self.check_finished(cluster)
            self.assertIn("registered", (cluster.out / "logs" / "s0.log").read_text())
            for folder in (pathlib.Path.cwd(), pathlib.Path.home(), cluster.folder, cluster.folder / FOLDER):
                self.assertFalse((folder / "injected").exists())

    def test_killed_processes_and_lost_connections_come_back(self):
        with SshCluster(self.sshd.options(), epochs=40) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            before = cluster.at_hosts()
            os.kill(before["s0"], signal.SIGKILL)
            os.kill(cluster.session_of(before["w1"]), signal.SIGKILL)
            wait_for(lambda: not is_running(before["w1"]), "a worker whose connection is lost ends", 20)

            def back():
                now = cluster.at_hosts()
                return all(name in now and now[name] != before[name] for name in ("s0", "w1")) or not cluster.running()

            wait_for(back, "both are started again")
            self.assertTrue(cluster.running(), "the sweep was over before")
            self.assertEqual(cluster.at_hosts()["s1"], before["s1"], "nobody else is disturbed")
            self.check_finished(cluster)
            self.assertIn("killed by signal 9 on host 127.0.0.2", cluster.output())
            self.assertIn("ssh cannot reach host 127.0.0.3, or has lost it", cluster.output())

    def test_hosts_that_are_away_for_a_while(self):
        with SshCluster(self.sshd.options(), epochs=40) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            # Those that listen and those that hold connections: as if the hosts were started again.
            sessions = {cluster.session_of(pid) for pid in cluster.at_hosts().values()}
            self.sshd.stop()
            for session in sessions:
                os.kill(session, signal.SIGKILL)
            wait_for(lambda: not cluster.at_hosts(), "all processes at the hosts end", 20)
            wait_for(lambda: cluster.output().count("ssh cannot reach host") >= 10 or not cluster.running(), "connections are tried again")
            self.sshd.start()
            self.check_finished(cluster)

    def test_network_that_is_cut_without_a_word(self):
        options = f"[UserKnownHostsFile={self.sshd.folder}/known_hosts, ServerAliveInterval=1, ServerAliveCountMax=2]"
        with SshCluster(self.sshd.options(options=options), epochs=200) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            before = cluster.at_hosts()["w1"]
            # What holds the connection answers nothing any more, and so does the process.
            cut = [cluster.session_of(before), before]
            for pid in cut:
                os.kill(pid, signal.SIGSTOP)
            try:
                wait_for(lambda: "w1 ended" in cluster.output() or not cluster.running(), "ssh notices")
                wait_for(lambda: "w1" in cluster.at_hosts(without=[before]) or not cluster.running(), "another one is started")
                self.assertTrue(cluster.running(), "the sweep was over before")
            finally:
                for pid in cut:
                    os.kill(pid, signal.SIGCONT)
            wait_for(lambda: not is_running(before), "the first one ends once it can", 20)
            self.check_finished(cluster)

    def test_nothing_is_left_when_the_scheduler_is_stopped_or_killed(self):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(end=end.name), SshCluster(self.sshd.options(), epochs=1000) as cluster:
                cluster.start()
                wait_for(lambda cluster=cluster: training(cluster), "training")
                self.assertEqual(len(cluster.at_hosts()), 4)
                cluster.process.send_signal(end)
                code = cluster.wait(20)
                self.assertEqual(code, 143 if end == signal.SIGTERM else -signal.SIGKILL)
                if end == signal.SIGTERM:
                    self.assertEqual(cluster.at_hosts(), {}, "all had ended before the scheduler did")
                wait_for(lambda cluster=cluster: not cluster.at_hosts(), "all processes at the hosts end", 20)

    def refused(self, *words, ssh):
        with SshCluster(ssh) as cluster:
            self.assertEqual(cluster.start().wait(60), 1)
            for word in words:
                self.assertIn(word, cluster.output())
            self.assertEqual(cluster.at_hosts(), {})

    def test_missing_program_is_said_at_once(self):
        self.refused("cannot be started", "host 127.0.0.", "has no program /nowhere/", ssh=self.sshd.options(programs="/nowhere"))

    def test_unknown_host_key_is_refused(self):
        self.refused("ended 6 times in a row", "host 127.0.0.", "Host key verification failed", ssh=self.sshd.options(hosts="unknown_hosts"))


if __name__ == "__main__":
    if SSHD is None or shutil.which("ssh") is None:
        print("SKIPPED: no sshd here; Debian has it in the package openssh-server", flush=True)
        sys.exit(77)
    unittest.main(verbosity=2)
