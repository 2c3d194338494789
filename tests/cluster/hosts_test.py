"""The same trial on one host and spread over three, each a network namespace with an address of its own: in synchronous mode the
results are equal. Needs root for the namespaces; without, the test says that it was skipped."""

import contextlib
import os
import subprocess
import sys
import unittest

from cluster import BIN, TWO_TOWER, Cluster, make_keys, models, wait_for

SWEEP = models(1, TWO_TOWER) + (
    "sweep: {method: grid, models: [two_tower], workers_per_trial: 2, consistency: {mode: synchronous}}\n"
)

THREE_HOSTS = """
cluster:
  name: three-hosts
  launcher: external
  security: {security}
  partitions: 16
  scheduler: {{host: {net}.1, port: 7700, metrics_port: 9700}}
  servers:
    - {{name: s0, host: {net}.1, port: 7710, metrics_port: 9710}}
    - {{name: s1, host: {net}.2, port: 7710, shards: 2, metrics_port: 9710}}
  workers:
    - {{name: w0, host: {net}.2, threads: 1, device: cpu, metrics_port: 9720}}
    - {{name: w1, host: {net}.3, threads: 1, device: cpu, metrics_port: 9720}}
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Three network namespaces on a bridge that is in a fourth: nothing of it shows on the machine's own network."""

    NET = "10.77.31"

    def __init__(self):
        self.prefix = f"marquee-{os.getpid()}"
        self.names = [f"{self.prefix}-{i}" for i in range(4)]

    def __enter__(self):
        try:
            for name in self.names:
                ip("netns", "add", name)
            switch = self.names[0]
            ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", switch, "link", "set", "bridge", "up")
            for i, host in enumerate(self.names[1:], start=1):
                ip("-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{i}", "netns", switch)
                ip("-n", switch, "link", "set", f"port{i}", "master", "bridge", "up")
                ip("-n", host, "addr", "add", f"{self.NET}.{i}/24", "dev", "eth0")
                ip("-n", host, "link", "set", "eth0", "up")
                ip("-n", host, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    def command(self, host, *command):
        return ["ip", "netns", "exec", self.names[host], *map(str, command)]


def possible():
    try:
        with Hosts():
            return True
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SKIPPED: no network namespaces here: {getattr(error, 'stderr', error)}", flush=True)
        return False


class HostsTest(unittest.TestCase):
    def on_one_host(self):
        with Cluster(SWEEP) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            return cluster.leaderboard()["trials"][0]

    def on_three_hosts(self, security):
        text = THREE_HOSTS.format(net=Hosts.NET, security=security) + ("  keys: keys\n" if security == "curve" else "")
        with Hosts() as hosts, Cluster(SWEEP, cluster_text=text) as cluster:
            if security == "curve":
                make_keys(cluster.folder / "keys")
            files = ["--cluster", cluster.cluster_file]
            logs = cluster.folder / "out" / "logs"
            logs.mkdir(parents=True)
            plan = [
                ("scheduler", 1, [BIN / "scheduler", *files, "--sweep", cluster.sweep_file, "--data", cluster.data, "--out", cluster.out]),
                ("s0", 1, [BIN / "ps", *files, "--name", "s0"]),
                ("s1", 2, [BIN / "ps", *files, "--name", "s1"]),
                ("w0", 2, [BIN / "worker", *files, "--name", "w0", "--data", cluster.data]),
                ("w1", 3, [BIN / "worker", *files, "--name", "w1", "--data", cluster.data]),
            ]
            processes = {}
            try:
                for name, host, command in plan:
                    with open(logs / f"{name}.log", "w") as log:
                        processes[name] = subprocess.Popen(hosts.command(host, *command), stdout=log, stderr=subprocess.STDOUT)
                wait_for(lambda: processes["scheduler"].poll() is not None, "the sweep ends")
                self.assertEqual(processes["scheduler"].returncode, 0)
                for name in ("w0", "w1", "s0", "s1"):
                    wait_for(lambda name=name: processes[name].poll() is not None, f"{name} leaves when the sweep is over", 30)
                    self.assertEqual(processes[name].returncode, 0, name)
            finally:
                for process in processes.values():
                    if process.poll() is None:
                        process.kill()
                    process.wait()
            return cluster.leaderboard()["trials"][0]

    def test_three_hosts_give_the_same_metrics(self):
        one = self.on_one_host()
        self.assertEqual(one["status"], "finished")
        for security in ("none", "curve"):
            with self.subTest(security=security):
                three = self.on_three_hosts(security)
                self.assertEqual(three["status"], "finished")
                self.assertEqual(one["metrics"], three["metrics"])


if __name__ == "__main__":
    if not possible():
        sys.exit(77)
    unittest.main(verbosity=2)
