"""Training on real MovieLens 1M while servers and workers are killed ends where an undisturbed one ends: the same number of examples, and test metrics
within the deviation from seed to seed (the synthetic data set where MARQUEE_DATA has no real one, saying so).

MARQUEE_KILLS_SEEDS: how many seeds each run has (default 4)."""

import os
import pathlib
import random
import signal
import statistics
import tempfile
import unittest

from movielens_test import wrangle
from cluster import Cluster, wait_for

CLUSTER = """
cluster:
  name: kills
  launcher: local
  partitions: 64
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: 3, shards: 1}
  workers: {count: 2, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 2
"""

EPOCHS = 3
SEEDS = int(os.environ.get("MARQUEE_KILLS_SEEDS", "4"))
SWEEP = f"""
models:
  two_tower:
    kind: two_tower
    dim: 32
    query: {{features: [user_id]}}
    candidate: {{features: [movie_id, movie_genres]}}
    loss: {{kind: in_batch_softmax, logq: true, accidental_hits: remove}}
    optimizer: {{kind: adam, learning_rate: 0.01}}
    epochs: {EPOCHS}
    batch_size: 4096
sweep: {{method: grid, models: [two_tower], seeds: {SEEDS}, seed: 1, consistency: {{mode: async}}, chunk_batches: 4}}
"""
METRICS = ("top_100", "top_100_unseen")


def process(cluster, name):
    for program in ("ps", "worker"):
        for pid, line in cluster.children(program).items():
            if f"--name {name} " in line + " ":
                return pid
    return None


class KillsTest(unittest.TestCase):
    def run_sweep(self, data, kills):
        """The leaderboard's row of all seeds, and how many processes were killed meanwhile."""
        with Cluster(SWEEP, cluster_text=CLUSTER, data=data) as cluster:
            cluster.start()
            killed = self.kill_until_it_ends(cluster) if kills else 0
            self.assertEqual(cluster.wait(1500), 0)
            board = cluster.leaderboard()
        trial = board["trials"][0]
        self.assertEqual([seed["status"] for seed in trial["seeds"]], ["finished"] * SEEDS)
        # Each example of each epoch counts once, those too that were trained again since a killed worker had not reported them.
        self.assertEqual(trial["examples"], SEEDS * EPOCHS * board["dataset"]["train"])
        return trial, killed

    def kill_until_it_ends(self, cluster):
        """kill -9 of one server or worker after the other, each when the one before is back and every partition has two copies."""
        choose = random.Random(SEEDS)
        names = ["s0", "w0", "s1", "w1", "s2"]
        killed = 0

        def whole():
            return not cluster.running() or (
                cluster.metric("scheduler", "marquee_under_replicated_partitions") == 0
                and all(process(cluster, name) for name in names)
                and all((cluster.metric(worker, "marquee_steps_total") or 0) > 0 for worker in ("w0", "w1"))
            )

        while True:
            wait_for(whole, "all are there, and both workers train")
            name = choose.choice(names)
            pid = process(cluster, name)
            if not cluster.running() or pid is None:
                return killed
            os.kill(pid, signal.SIGKILL)
            killed += 1
            wait_for(lambda: not cluster.running() or process(cluster, name) not in (None, pid), f"{name} is started again")

    def test_killed_processes_do_not_show_in_the_metrics(self):
        with tempfile.TemporaryDirectory() as folder:
            data = pathlib.Path(folder) / "ml-1m.mq"
            wrangle(data)
            calm, _ = self.run_sweep(data, kills=False)
            disturbed, killed = self.run_sweep(data, kills=True)
        self.assertGreaterEqual(killed, 3)
        print(f"{SEEDS} seeds, {killed} processes killed, {disturbed['repeated_examples']} examples trained twice", flush=True)
        print(f"{'metric':<16} {'undisturbed':>20} {'under kills':>20}", flush=True)
        for metric in METRICS:
            means = [trial["metrics"]["test"][metric] for trial in (calm, disturbed)]
            deviations = [trial["deviation"]["test"][metric] for trial in (calm, disturbed)]
            print(f"{metric:<16} {means[0]:>10.4f} ± {deviations[0]:.4f}   {means[1]:>10.4f} ± {deviations[1]:.4f}", flush=True)
            # Three standard errors of the difference of two means: one comparison in several hundred fails by chance.
            error = (statistics.mean(deviation**2 for deviation in deviations) * 2 / SEEDS) ** 0.5
            self.assertLess(abs(means[0] - means[1]), max(3 * error, 0.001), metric)


if __name__ == "__main__":
    unittest.main(verbosity=2)
