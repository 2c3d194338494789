"""Servers come and go while a trial trains, on real processes: partitions are moved to those that come and away from those that
go, nothing is lost or trained twice, and the result is that of a run in which nothing moved, to the last bit. One server is killed
with -9 in the middle of a move."""

import os
import signal
import unittest

from cluster import RANKING, Cluster, models, training, wait_for

CLUSTER = """
cluster:
  name: moves
  launcher: local
  partitions: 32
  replication: REPLICATION
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: 2, shards: 2}
  workers: {count: 1, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 2
"""

EPOCHS = 60
SWEEP = models(EPOCHS, RANKING) + "sweep: {method: grid, models: [ranking], workers_per_trial: 1, consistency: {mode: synchronous}, chunk_batches: 2}\n"


class MovesTest(unittest.TestCase):
    def edit(self, cluster, count):
        text = cluster.cluster_file.read_text()
        draft = cluster.folder / "draft.yaml"
        draft.write_text(text.replace(text[text.index("{count:") : text.index(", shards")], f"{{count: {count}"))
        draft.rename(cluster.cluster_file)
        os.kill(cluster.process.pid, signal.SIGHUP)

    def pid(self, cluster, name):
        return next((pid for pid, line in cluster.children("ps").items() if f"--name {name} " in line + " "), None)

    def count(self, cluster, family):
        return cluster.metric("scheduler", family) or 0

    def moved(self, cluster):
        return self.count(cluster, "marquee_partitions_moved_total")

    def holds_rows(self, cluster, name):
        return (cluster.metric(name, "marquee_table_rows") or 0) > 0

    def settled(self, cluster, servers):
        """Each of `servers` serves rows, no other process runs, and nothing is left to be moved."""
        return (
            len(cluster.children("ps")) == len(servers)
            and all(self.holds_rows(cluster, name) for name in servers)
            and self.count(cluster, "marquee_servers_leaving") == 0
            and self.count(cluster, "marquee_under_replicated_partitions") == 0
        )

    def run_trial(self, cluster, disturb):
        cluster.start()
        wait_for(lambda: training(cluster) or not cluster.running(), "training")
        wait_for(lambda: self.count(cluster, "marquee_sessions_opened_total") or not cluster.running(), "a session is counted")
        disturb(cluster)
        self.assertTrue(cluster.running(), "the sweep was over too soon")
        repeated = self.count(cluster, "marquee_repeated_examples_total")
        restored = self.count(cluster, "marquee_trials_restored_total")
        sessions = self.count(cluster, "marquee_sessions_opened_total")
        self.assertEqual(cluster.wait(), 0)
        self.assertEqual((repeated, restored, sessions), (0, 0, 1))
        board = cluster.leaderboard()
        trial = board["trials"][0]
        self.assertEqual(trial["status"], "finished")
        self.assertEqual(trial["examples"], EPOCHS * board["dataset"]["train"])
        return trial["epoch_losses"], trial["metrics"]["validation"], trial["metrics"]["test"]

    def check_same_as_undisturbed(self, replication, disturb):
        text = CLUSTER.replace("REPLICATION", str(replication))
        with Cluster(SWEEP, cluster_text=text) as cluster:
            moved = self.run_trial(cluster, disturb)
        with Cluster(SWEEP, cluster_text=text) as cluster:
            quiet = self.run_trial(cluster, lambda cluster: None)
        self.assertEqual(moved, quiet)

    def test_two_to_four_to_two_servers_with_two_copies_and_a_kill(self):
        def disturb(cluster):
            self.edit(cluster, 4)
            wait_for(lambda: self.moved(cluster) > 0, "partitions are moved")
            os.kill(self.pid(cluster, "s3"), signal.SIGKILL)
            wait_for(lambda: self.count(cluster, "marquee_members_lost_total") > 0, "the loss is noticed")
            wait_for(lambda: self.settled(cluster, ["s0", "s1", "s2", "s3"]), "four servers serve rows")
            self.edit(cluster, 2)
            wait_for(lambda: self.settled(cluster, ["s0", "s1"]), "two servers are left")

        self.check_same_as_undisturbed(2, disturb)

    def test_one_copy_moves_without_starting_over(self):
        def disturb(cluster):
            self.edit(cluster, 3)
            wait_for(lambda: self.settled(cluster, ["s0", "s1", "s2"]), "three servers serve rows")
            self.edit(cluster, 1)
            wait_for(lambda: self.settled(cluster, ["s0"]), "one server is left")
            self.assertEqual(self.count(cluster, "marquee_members_lost_total"), 0)

        self.check_same_as_undisturbed(1, disturb)


if __name__ == "__main__":
    unittest.main(verbosity=2)
