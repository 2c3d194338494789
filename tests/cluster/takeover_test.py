"""The scheduler is killed while a trial trains, and servers and workers live on: the next one takes the trial over. Nothing starts
anew, nothing is trained twice, and the results are those of an undisturbed run."""

import signal
import subprocess
import unittest

from cluster import BIN, RANKING, Cluster, free_port, models, wait_for

CLUSTER = """
cluster:
  name: takeover
  launcher: external
  partitions: 16
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: PORT}
  servers: {count: 2, shards: 1}
  workers: {count: WORKERS, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 3
"""
EPOCHS = 40


def sweep(workers, mode):
    return models(EPOCHS, RANKING) + (
        f"sweep: {{method: grid, models: [ranking], workers_per_trial: {workers}, consistency: {mode}, chunk_batches: 2}}\n"
    )


class ExternalCluster(Cluster):
    """Servers and workers are started here, and outlive the scheduler."""

    def __init__(self, workers=2, mode="{mode: synchronous}"):
        text = CLUSTER.replace("WORKERS", str(workers)).replace("PORT", str(free_port()))
        super().__init__(sweep(workers, mode), cluster_text=text)
        self.workers = [f"w{i}" for i in range(workers)]
        self.processes = {}

    def __exit__(self, *exception):
        for process in self.processes.values():
            process.kill()
            process.wait()
        super().__exit__(*exception)

    def start_all(self):
        self.start()
        for name in ("s0", "s1", *self.workers):
            self.start_process(name)
        return self

    def start_process(self, name):
        program, data = ("ps", []) if name.startswith("s") else ("worker", ["--data", self.data])
        command = [BIN / program, "--cluster", self.cluster_file, "--name", name, *data]
        logs = self.out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with open(logs / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)

    def kill_process(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def trains_on(self):
        wait_for(lambda: self.running() and self.metric("scheduler", "marquee_under_replicated_partitions") == 0, "two copies of each row")
        before = self.metric("scheduler", "marquee_trained_examples_total") or 0
        wait_for(lambda: not self.running() or self.metric("scheduler", "marquee_trained_examples_total") > before, "training goes on")
        assert self.running(), "the sweep was over before its scheduler was killed"

    def kill_scheduler(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def count(self, family):
        return self.metric("scheduler", family) or 0

    def wait_for_takeover(self):
        wait_for(lambda: not self.running() or self.count("marquee_trials_taken_over_total") == 1, "the trial is taken over")
        assert self.running(), "the scheduler did not take the trial over"

    def outcome(self):
        trial = self.leaderboard()["trials"][0]
        kept = {key: trial[key] for key in ("status", "epochs", "examples", "repeated_examples")}
        return kept | {part: trial["metrics"][part] for part in ("validation", "test")}


class TakeoverTest(unittest.TestCase):
    def test_results_are_those_of_an_undisturbed_run(self):
        with ExternalCluster() as cluster:
            self.assertEqual(cluster.start_all().wait(), 0)
            expected = cluster.outcome()
        with ExternalCluster() as cluster:
            cluster.start_all()
            for _ in range(3):
                cluster.trains_on()
                cluster.kill_scheduler()
                cluster.start("--resume")
                cluster.wait_for_takeover()
            self.assertEqual(cluster.count("marquee_sessions_opened_total"), 0, "workers go on in their sessions")
            self.assertEqual(cluster.wait(), 0)
            self.assertEqual(cluster.outcome(), expected)
            for name, process in cluster.processes.items():
                self.assertEqual(process.wait(30), 0, f"{name} is told that the sweep is over")

    def test_who_dies_meanwhile_is_replaced(self):
        with ExternalCluster(mode="{mode: async}") as cluster:
            cluster.start_all()
            cluster.trains_on()
            cluster.kill_scheduler()
            for name in ("s1", "w1"):
                cluster.kill_process(name)
            cluster.start("--resume")
            cluster.wait_for_takeover()
            for name in ("s1", "w1"):
                cluster.start_process(name)
            cluster.trains_on()
            self.assertEqual(cluster.count("marquee_sessions_opened_total"), 1, "the lost worker's; the other goes on in its own")
            self.assertEqual(cluster.wait(), 0)
            board = cluster.leaderboard()
            self.assertEqual(board["trials"][0]["status"], "finished")
            self.assertEqual(board["trials"][0]["examples"], EPOCHS * board["dataset"]["train"])
            self.assertIn("a trial is taken over", cluster.output())


if __name__ == "__main__":
    unittest.main(verbosity=2)
