"""Programs of two versions in one cluster: they understand one another and compute the same, each can be replaced by the other
version's while a sweep runs, and those that have no version of the wire in common part with a clear word.

The older programs are the same ones, built to speak the wire's version before only (CMakeLists.txt). MARQUEE_BEFORE names a folder
with those of a real release instead."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import unittest

from cluster import BIN, RANKING, Cluster, free_port, is_running, models, wait_for

NOW = BIN
BEFORE = pathlib.Path(os.environ.get("MARQUEE_BEFORE", BIN.parent / "tests" / "wire_2"))
ALIEN = BIN.parent / "tests" / "wire_9"  # speaks nothing that the others do

CLUSTER = """
cluster:
  name: versions
  launcher: LAUNCHER
  partitions: 16
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: PORT}
  servers: {count: 2, shards: 1}
  workers: {count: WORKERS, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 3
  checkpoints: {every_seconds: 0, folder: checkpoints}
"""
REJECTED = re.compile(r'marquee_rejected_total{reason="wrongVersion"} [1-9]')


def cluster_text(workers, launcher="local", port=0):
    return CLUSTER.replace("WORKERS", str(workers)).replace("LAUNCHER", launcher).replace("PORT", str(port))


def sweep(workers, epochs):
    return models(epochs, RANKING) + (
        f"sweep: {{method: grid, models: [ranking], workers_per_trial: {workers}, consistency: {{mode: synchronous}}, chunk_batches: 2}}\n"
    )


def outcome(cluster):
    """What of a trial's result must not depend on who computed it, nor on replaced processes."""
    trial = cluster.leaderboard()["trials"][0]
    kept = {key: trial[key] for key in ("status", "epochs", "examples")}
    return kept | {part: trial["metrics"][part] for part in ("validation", "test")}


class Mixed(Cluster):
    """A cluster whose programs come from the folder that is named for each."""

    def __init__(self, scheduler, ps, worker, workers, epochs):
        super().__init__(sweep(workers, epochs), cluster_text=cluster_text(workers))
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        for name, source in (("scheduler", scheduler), ("ps", ps), ("worker", worker)):
            self.install(name, source)

    def install(self, name, source):
        """Puts a program in the place of the one before, as an upgrade does: processes that run stay what they are."""
        fresh = self.programs / f"{name}.new"
        shutil.copy2(source / name, fresh)
        fresh.replace(self.programs / name)

    def start(self, *arguments):
        files = ["--cluster", self.cluster_file, "--sweep", self.sweep_file, "--data", self.data, "--out", self.out]
        with open(self.folder / "scheduler.log", "a") as log:
            command = [str(part) for part in [self.programs / "scheduler", *files, *arguments]]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        return self

    def process_of(self, name):
        return next((pid for pid, line in self.children().items() if f"--name {name} " in f"{line} "), None)

    def replace(self, name):
        """SIGTERM; the scheduler starts the program that lies there now."""
        before = self.process_of(name)
        os.kill(before, signal.SIGTERM)
        wait_for(lambda: not is_running(before) and self.process_of(name) not in (before, None), f"another {name}", 30)

    def whole(self):
        """Whether every partition has two copies."""
        return self.metric("scheduler", "marquee_under_replicated_partitions") == 0

    def trained(self):
        return self.metric("scheduler", "marquee_trained_examples_total") or 0

    def goes_on(self):
        """Waits until more was trained than now, by processes that have two copies of each row."""
        wait_for(lambda: self.whole() or not self.running(), "two copies of each row")
        before = self.trained()
        wait_for(lambda: self.trained() > before or not self.running(), "training goes on")
        assert self.running(), "the sweep was over before it was upgraded"

    def wire_version(self):
        return self.metric("scheduler", "marquee_wire_version")


class MixedTest(unittest.TestCase):
    def run_to_the_end(self, scheduler, ps, worker, version):
        with Mixed(scheduler, ps, worker, workers=2, epochs=5) as cluster:
            cluster.start()
            if scheduler == NOW:  # older ones need not have the metric
                wait_for(lambda: cluster.trained() > 0 or not cluster.running(), "training")
                self.assertEqual(cluster.wire_version(), version)
            self.assertEqual(cluster.wait(), 0)
            return outcome(cluster)

    def test_mixed_clusters_compute_the_same(self):
        expected = self.run_to_the_end(NOW, NOW, NOW, 3)
        self.assertEqual(expected["status"], "finished")
        for mix in ((BEFORE, NOW, NOW), (NOW, BEFORE, NOW), (NOW, NOW, BEFORE)):
            with self.subTest(**dict(zip(("scheduler", "ps", "worker"), map(str, mix)))):
                self.assertEqual(self.run_to_the_end(*mix, 2), expected)

    def test_a_cluster_is_upgraded_while_its_sweep_runs(self):
        """As docs/operations.md says: servers one by one, workers, then the scheduler."""
        epochs = 120  # so long that it lasts until all are replaced
        with Mixed(NOW, NOW, NOW, workers=1, epochs=epochs) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            expected = outcome(cluster)
        with Mixed(BEFORE, BEFORE, BEFORE, workers=1, epochs=epochs) as cluster:
            cluster.start()
            wait_for(lambda: cluster.trained() > 0, "training")
            cluster.install("ps", NOW)
            for server in ("s0", "s1"):
                cluster.goes_on()
                cluster.replace(server)
            cluster.install("worker", NOW)
            cluster.goes_on()
            cluster.replace("w0")
            cluster.goes_on()
            self.assertEqual(cluster.metric("scheduler", "marquee_sessions_opened_total"), 2, "the worker's two: no server's end has cost one")

            cluster.process.send_signal(signal.SIGUSR1)
            wait_for(lambda: list((cluster.folder / "checkpoints").glob("*/MANIFEST")) or not cluster.running(), "a checkpoint")
            self.assertTrue(cluster.running(), "the sweep was over before it was upgraded")
            cluster.stop()
            cluster.install("scheduler", NOW)
            cluster.start("--resume")
            wait_for(lambda: cluster.wire_version() == 3 and cluster.whole(), "all speak the newest version")
            self.assertEqual(cluster.wait(), 0)
            self.assertIn("a trial goes on from a checkpoint", cluster.output())
            self.assertEqual(outcome(cluster), expected)


class RefusedTest(unittest.TestCase):
    """Programs of an external launcher, so that each one's last words can be read."""

    def setUp(self):
        self.cluster = Cluster(sweep(1, 1), cluster_text=cluster_text(1, "external", free_port()))
        self.addCleanup(self.cluster.__exit__, None, None, None)

    def start_scheduler(self, source):
        files = ["--cluster", self.cluster.cluster_file, "--sweep", self.cluster.sweep_file, "--data", self.cluster.data, "--out", self.cluster.out]
        with open(self.cluster.folder / "scheduler.log", "a") as log:
            self.cluster.process = subprocess.Popen([source / "scheduler", *files], stdout=log, stderr=subprocess.STDOUT)
        wait_for(self.cluster.endpoints, "the scheduler listens", 30)

    def last_words(self, source, program, name):
        data = ["--data", self.cluster.data] if program == "worker" else []
        command = [source / program, "--cluster", self.cluster.cluster_file, "--name", name, "--orphan-seconds", "20", *data]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        return ended.stderr.splitlines()[-1]

    def test_a_newer_program_is_told_to_wait_for_the_scheduler(self):
        self.start_scheduler(NOW)
        for program, name in (("worker", "w0"), ("ps", "s0")):
            words = self.last_words(ALIEN, program, name)
            self.assertRegex(words, r"the sender speaks 9 of the wire; the receiver, marquee \S+, 2 to 3: none in common")
            self.assertIn("Upgrade the receiver", words)
        wait_for(lambda: REJECTED.search(self.cluster.metrics("scheduler") or ""), "the scheduler counts it", 10)

    def test_an_older_program_is_told_to_upgrade(self):
        self.start_scheduler(ALIEN)
        for source, versions in ((NOW, "2 to 3"), (BEFORE, "2")):
            words = self.last_words(source, "worker", "w0")
            self.assertRegex(words, rf"the sender speaks {versions} of the wire; the receiver, marquee \S+, 9: none in common")
            self.assertIn("Upgrade the sender", words)

    def test_a_newer_state_is_not_touched(self):
        self.cluster.out.mkdir()
        state = self.cluster.out / "state.db"
        with contextlib.closing(sqlite3.connect(state)) as database:
            database.execute("PRAGMA user_version = 99")
        written = state.read_bytes()
        self.assertEqual(self.cluster.start("--resume").wait(30), 1)
        self.assertRegex(self.cluster.output(), r"state\.db: is a state of version 99; this program, marquee \S+, reads 2 to 3: a newer marquee")
        self.assertEqual(state.read_bytes(), written)


if __name__ == "__main__":
    unittest.main(verbosity=2)
