"""Two copies on real processes, with keys: servers are killed and stopped while a trial trains, and nothing starts anew."""

import os
import signal
import unittest

from cluster import TWO_TOWER, Cluster, make_keys, models, training, wait_for

CLUSTER = """
cluster:
  name: failover
  launcher: local
  security: curve
  keys: keys
  partitions: 16
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: 3, shards: 2}
  workers: {count: 2, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 2
"""

EPOCHS = 12
SWEEP = models(EPOCHS, TWO_TOWER) + (
    "sweep: {method: grid, models: [two_tower], workers_per_trial: 2, consistency: {mode: async}, chunk_batches: 2}\n"
)


class FailoverTest(unittest.TestCase):
    def started(self):
        cluster = Cluster(SWEEP, cluster_text=CLUSTER)
        make_keys(cluster.folder / "keys")
        self.sessions = None
        return cluster

    def server(self, cluster, name):
        return next(pid for pid, line in cluster.children("ps").items() if f"--name {name}" in line)

    def whole(self, cluster):
        """Whether every partition has two copies."""
        self.sessions = cluster.metric("scheduler", "marquee_sessions_opened_total") or self.sessions
        return cluster.running() and cluster.metric("scheduler", "marquee_under_replicated_partitions") == 0

    def check_nothing_started_anew(self, cluster):
        self.assertEqual(self.sessions, 2, "each worker's one session")
        board = cluster.leaderboard()
        trial = board["trials"][0]
        self.assertEqual(trial["status"], "finished")
        self.assertEqual(trial["examples"], EPOCHS * board["dataset"]["train"])
        self.assertEqual(trial["repeated_examples"], 0)

    def test_servers_are_killed_one_after_the_other(self):
        with self.started() as cluster:
            cluster.start()
            wait_for(lambda: training(cluster) and self.whole(cluster), "training with two copies")
            promoted = 0
            for name in ("s0", "s1"):
                os.kill(self.server(cluster, name), signal.SIGKILL)
                wait_for(lambda: (cluster.metric("scheduler", "marquee_partitions_promoted_total") or 0) > promoted, "copies take over")
                wait_for(lambda: self.whole(cluster), "the server is back, and its copies are whole")
                promoted = cluster.metric("scheduler", "marquee_partitions_promoted_total")
            self.assertEqual(cluster.wait(), 0)
            self.check_nothing_started_anew(cluster)

    def test_server_is_stopped_for_longer_than_its_lease(self):
        with self.started() as cluster:
            cluster.start()
            wait_for(lambda: training(cluster) and self.whole(cluster), "training with two copies")
            paused = self.server(cluster, "s2")
            os.kill(paused, signal.SIGSTOP)
            try:
                wait_for(lambda: (cluster.metric("scheduler", "marquee_partitions_promoted_total") or 0) > 0, "copies take over")
            finally:
                os.kill(paused, signal.SIGCONT)
            wait_for(lambda: self.whole(cluster), "the server is back, and its copies are whole")
            self.assertEqual(cluster.wait(), 0)
            self.check_nothing_started_anew(cluster)


if __name__ == "__main__":
    unittest.main(verbosity=2)
