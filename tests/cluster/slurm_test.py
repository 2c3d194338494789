"""launcher: slurm and deploy/slurm/marquee.sbatch with a real slurmctld and two slurmd, which the test starts as its own children: two
nodes that are this machine, with ports, keys and state of their own. Without Slurm's programs the test says that it was skipped."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import BIN, RANKING, Cluster, is_running, models, wait_for

SBATCH = pathlib.Path(__file__).parents[2] / "deploy" / "slurm" / "marquee.sbatch"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
os.environ["PATH"] += ":/usr/sbin:/sbin"

CLUSTER = """
cluster:
  name: slurm
  launcher: slurm
  slurm: {environment: {MARQUEE_WORD: "it's $HOME"}}
  security: none
  partitions: 16
  servers: {count: 2, shards: 2}
  workers: {count: 2, threads: 1, device: cpu}
  checkpoints: {every_seconds: EVERY}
  heartbeat_seconds: 0.2
  lease_seconds: 5
"""

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdTimeout=10
KillWait=5
JobRequeue=1
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8
PartitionName=test Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""


def sweep(epochs):
    return models(epochs, RANKING) + (
        "sweep: {method: grid, models: [ranking], workers_per_trial: 2, consistency: {mode: async}, chunk_batches: 2}\n"
    )


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def words(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return [""]


class Slurm:
    """A controller and two nodes."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-slurm-"))
        self.folder.chmod(0o755)
        self.children = {}
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        for name in ("state", "munge"):
            (self.folder / name).mkdir(mode=0o700)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        host = socket.gethostname().split(".")[0]
        user = "root" if os.getuid() == 0 else os.environ["USER"]
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(SLURM_CONF.format(folder=self.folder, host=host, user=user, ports=free_ports(3)))
        os.environ["SLURM_CONF"] = str(self.conf)
        munge = self.folder / "munge"
        files = [f"--{kind}={munge / name}" for kind, name in
                 (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))]
        self.run("munged", "--foreground", "--force", *files)
        wait_for(lambda: self.alive("munged") and (munge / "socket").exists(), "munged listens", 20)
        self.run("slurmctld", "-D", "-f", self.conf)
        for node in ("n1", "n2"):
            self.start_node(node)

    def start_node(self, node):
        self.run(node, "-D", "-N", node, "-f", self.conf, program="slurmd")
        wait_for(lambda: self.alive(node) and "State=IDLE" in self.show("node", node), f"node {node} is idle", 60)

    def run(self, name, *arguments, program=None):
        with open(self.folder / f"{name}.log", "a") as log:
            self.children[name] = subprocess.Popen([program or name, *map(str, arguments)], stdout=log, stderr=subprocess.STDOUT)

    def alive(self, name):
        if self.children[name].poll() is not None:
            raise RuntimeError(f"{name} ended: " + (self.folder / f"{name}.log").read_text()[-2000:])
        return True

    def show(self, *what):
        return subprocess.run(["scontrol", "--oneliner", "show", *what], capture_output=True, text=True).stdout

    def processes(self, node=None):
        """Processes of jobs of this Slurm, on one node or all: [pid]."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                on_node = any(text in variables for text in ([f"SLURMD_NODENAME={node}"] if node else ["SLURMD_NODENAME=n1", "SLURMD_NODENAME=n2"]))
                if on_node and f"SLURM_CONF={self.conf}" in variables and is_running(int(entry.name)):
                    found.append(int(entry.name))
        return found

    def step_daemons(self, processes):
        """The slurmstepd processes above these."""
        found = set()
        for pid in processes:
            with contextlib.suppress(OSError):
                parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                if pathlib.Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd":
                    found.add(parent)
        return found

    def kill_jobs(self, node=None):
        processes = self.processes(node)
        for pid in [*self.step_daemons(processes), *processes]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def lose(self, node):
        """As if the node's power failed: everything on it is gone, and nobody is told."""
        self.children[node].kill()
        self.children[node].wait()
        self.kill_jobs(node)

    def __exit__(self, *_):
        for name in reversed(self.children):
            if self.children[name].poll() is None:
                self.children[name].terminate()
                try:
                    self.children[name].wait(20)
                except subprocess.TimeoutExpired:
                    self.children[name].kill()
                    self.children[name].wait()
        if hasattr(self, "conf"):
            self.kill_jobs()
        os.environ.pop("SLURM_CONF", None)
        shutil.rmtree(self.folder)


class Job(Cluster):
    """A sweep as a job of deploy/slurm/marquee.sbatch."""

    def __init__(self, slurm, epochs, every=0.3):
        super().__init__(sweep(epochs), cluster_text=CLUSTER.replace("EVERY", str(every)))
        self.slurm = slurm
        self.id = None

    def submit(self, *options, more=()):
        command = ["sbatch", "--parsable", f"--output={self.folder}/scheduler.log", *options, SBATCH]
        command += ["--cluster", self.cluster_file, "--sweep", self.sweep_file, "--data", self.data, "--out", self.out, *more]
        environment = os.environ | {"MARQUEE_SCHEDULER": str(BIN / "scheduler"), "MARQUEE_CHECKPOINT_SECONDS": "2"}
        self.id = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=environment).stdout.strip()

    def field(self, name):
        found = re.search(rf"\b{name}=(\S*)", self.slurm.show("job", self.id))
        return found and found.group(1)

    def running(self):
        return self.field("JobState") not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", None)

    def stop(self):
        if self.id is not None:
            subprocess.run(["scancel", self.id], check=True)
            wait_for(lambda: not self.running(), "the job ends", 60)

    def members(self, node=None):
        """Servers and workers, on one node or all: {name: pid}."""
        found = {}
        for pid in self.slurm.processes(node):
            line = words(pid)
            if os.path.basename(line[0]) in ("ps", "worker") and str(self.cluster_file) in line:
                self.seen_children[pid] = " ".join(line)
                found[line[line.index("--name") + 1]] = pid
        return found

    def training(self):
        steps = [self.metric(worker, "marquee_steps_total") or 0 for worker in ("w0", "w1")]
        checkpoints = self.metric("scheduler", "marquee_checkpoint_number") or 0
        return not self.running() or (sum(steps) > 3 and checkpoints > 0 and len(self.members()) == 4)

    def finish(self, test):
        wait_for(lambda: not self.running(), "the job ends")
        test.assertEqual(self.field("JobState"), "COMPLETED", self.output())
        test.assertEqual(self.leaderboard()["trials"][0]["status"], "finished")
        test.assertEqual(self.members(), {}, "nothing is left on the nodes")


@contextlib.contextmanager
def all_nodes(slurm):
    """Brings nodes back that the test has lost."""
    try:
        yield
    finally:
        for node in ("n1", "n2"):
            if slurm.children[node].poll() is not None:
                slurm.start_node(node)


class SlurmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.slurm = cls.enterClassContext(Slurm())

    def trains(self, job):
        wait_for(job.training, "training, with a checkpoint")
        self.assertTrue(job.running(), "the sweep was over before:\n" + job.output())
        return job.members()

    def test_steps_go_round_the_nodes_and_lost_ones_come_back(self):
        with Job(self.slurm, epochs=60) as job:
            job.submit()
            before = self.trains(job)
            for node, names in (("n1", ["s0", "w0"]), ("n2", ["s1", "w1"])):
                self.assertEqual(sorted(job.members(node)), names)
            variables = pathlib.Path(f"/proc/{before['w1']}/environ").read_bytes().decode().split("\0")
            self.assertIn("MARQUEE_WORD=it's $HOME", variables)
            self.assertIn("OMP_NUM_THREADS=1", variables)
            for name in ("s1", "w0"):
                os.kill(before[name], signal.SIGKILL)

            def back():
                now = job.members()
                return all(name in now and now[name] != before[name] for name in ("s1", "w0")) or not job.running()

            wait_for(back, "both are started again")
            self.assertTrue(job.running(), "the sweep was over before")
            job.finish(self)
            self.assertEqual(job.field("Restarts"), "0")
            self.assertIn("killed by signal 9 on host n", job.output())
            self.assertIn("a trial goes on from a checkpoint", job.output())

    def test_lost_node_means_that_the_job_is_queued_again_and_goes_on(self):
        # The node of the script, and another one.
        for node in ("n1", "n2"):
            with self.subTest(node=node), all_nodes(self.slurm), Job(self.slurm, epochs=60) as job:
                job.submit()
                self.trains(job)
                self.slurm.lose(node)
                wait_for(lambda job=job: job.field("JobState") == "PENDING", "the job is queued again", 90)
                wait_for(lambda job=job: not job.members(), "nothing is left on the other node", 60)
                self.slurm.start_node(node)
                job.finish(self)
                self.assertEqual(job.field("Restarts"), "1")
                self.assertIn("a trial goes on from a checkpoint", job.output())

    def test_lost_node_of_a_job_that_goes_on_without(self):
        with all_nodes(self.slurm), Job(self.slurm, epochs=60) as job:
            job.submit("--no-kill")
            self.trains(job)
            self.slurm.lose("n2")
            wait_for(lambda: sorted(job.members("n1")) == ["s0", "s1", "w0", "w1"] or not job.running(), "all are on the other node")
            self.assertTrue(job.running(), "the sweep was over before")
            job.finish(self)
            self.assertEqual(job.field("Restarts"), "0")
            self.assertIn("Slurm has lost node n2, or has ended the step; next is node n1", job.output())

    def test_near_the_time_limit_it_makes_a_checkpoint_and_queues_itself_again(self):
        with Job(self.slurm, epochs=60, every=0) as job:
            job.submit()
            wait_for(lambda: (job.metric("w0", "marquee_steps_total") or 0) > 3 or not job.running(), "training")
            self.assertEqual(list(job.out.glob("checkpoints/*/MANIFEST")), [])
            subprocess.run(["scancel", "--batch", "--signal=USR1", job.id], check=True)
            wait_for(lambda: job.field("Restarts") == "1", "the job is queued again", 60)
            self.assertEqual(len(list(job.out.glob("checkpoints/*/MANIFEST"))), 1)
            job.finish(self)
            self.assertIn("a trial goes on from a checkpoint", job.output())

    def test_cancelled_job_leaves_nothing_and_its_sweep_goes_on_in_another(self):
        with Job(self.slurm, epochs=60) as job:
            job.submit()
            self.trains(job)
            job.stop()
            self.assertEqual(job.field("JobState"), "CANCELLED")
            wait_for(lambda: not job.members(), "nothing is left on the nodes", 60)
            job.submit()
            wait_for(lambda: not job.running(), "the job is refused")
            self.assertIn("--resume", job.output())
            self.assertEqual(job.field("JobState"), "FAILED")
            job.submit(more=["--resume"])
            job.finish(self)
            self.assertIn("a trial goes on from a checkpoint", job.output())

    def test_outside_of_a_job_it_says_how_to_be_in_one(self):
        with Cluster(sweep(1), cluster_text=CLUSTER.replace("EVERY", "1")) as cluster:
            self.assertEqual(cluster.start().wait(30), 1)
            self.assertIn("sbatch", cluster.output())


if __name__ == "__main__":
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"SKIPPED: no {', '.join(missing)} here; Debian has them in the packages munge, slurmctld, slurmd, slurm-client", flush=True)
        sys.exit(77)
    unittest.main(verbosity=2)
