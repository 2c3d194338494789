"""Edits of the cluster file while a sweep runs, on real processes: workers come and go; what cannot be followed is refused by name
and leaves everything running, and a process that is killed while the file is broken still comes back."""

import os
import signal
import unittest

from cluster import RANKING, Cluster, models, training, wait_for

CLUSTER = """
cluster:
  name: edits
  launcher: local
  partitions: 16
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: 2, shards: 2}
  workers: {count: 2, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 2
"""

EPOCHS = 80
SWEEP = models(EPOCHS, RANKING) + (
    "sweep: {method: grid, models: [ranking], workers_per_trial: 1, consistency: {mode: async}, chunk_batches: 2}\n"
)


class EditsTest(unittest.TestCase):
    def edit(self, cluster, text):
        """Replaces the file and asks for it to be read."""
        draft = cluster.folder / "draft.yaml"
        draft.write_text(text)
        draft.rename(cluster.cluster_file)
        os.kill(cluster.process.pid, signal.SIGHUP)

    def check_refused(self, cluster, text, why, edit):
        before = cluster.metric("scheduler", "marquee_cluster_edits_refused_total") or 0
        edit(text)
        wait_for(
            lambda: (cluster.metric("scheduler", "marquee_cluster_edits_refused_total") or 0) > before or not cluster.running(),
            f"the edit is refused: {why}",
        )
        self.assertTrue(cluster.running(), "the sweep was over too soon")
        self.assertIn(why, cluster.output())

    def pid(self, cluster, program, name):
        return next((pid for pid, line in cluster.children(program).items() if f"--name {name} " in line + " "), None)

    def check_finished(self, cluster):
        self.assertEqual(cluster.wait(), 0)
        board = cluster.leaderboard()
        trial = board["trials"][0]
        self.assertEqual(trial["status"], "finished")
        self.assertEqual(trial["examples"], EPOCHS * board["dataset"]["train"])

    def test_refused_edits_leave_all_running(self):
        with Cluster(SWEEP, cluster_text=CLUSTER) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            before = set(cluster.children())
            for text, why in (
                ("cluster: {servers: [", "not YAML"),
                (CLUSTER.replace("partitions: 16", "partitions: 32"), "key 'cluster.partitions': value '32': was '16'"),
                (CLUSTER.replace("{count: 2, shards", "{count: 1, shards"), "replication is 2 and there is 1 server"),
                (CLUSTER.replace("shards: 2", "shards: 1"), "key 'cluster.servers': 's0' has"),
            ):
                self.check_refused(cluster, text, why, lambda text: self.edit(cluster, text))
            # Written in place, and noticed without being asked. What runs does not lean on the broken file.
            self.check_refused(cluster, "cluster:\n  servers", "key 'cluster': value 'servers'", cluster.cluster_file.write_text)
            self.assertEqual(set(cluster.children()), before)
            wait_for(lambda: cluster.metric("scheduler", "marquee_under_replicated_partitions") == 0, "two copies")
            os.kill(self.pid(cluster, "ps", "s0"), signal.SIGKILL)
            wait_for(lambda: self.pid(cluster, "ps", "s0") not in before | {None}, "the server is started again")
            wait_for(lambda: (cluster.metric("scheduler", "marquee_partitions_promoted_total") or 0) > 0, "copies take over")
            wait_for(lambda: cluster.metric("scheduler", "marquee_under_replicated_partitions") == 0, "two copies again")
            self.check_finished(cluster)

    def test_workers_come_and_go(self):
        with Cluster(SWEEP, cluster_text=CLUSTER) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            self.edit(cluster, CLUSTER.replace("workers: {count: 2,", "workers: {count: 3,"))
            wait_for(lambda: cluster.metric("scheduler", "marquee_members") == 5, "the new worker has come")
            trained_on = next(name for name in ("w0", "w1") if cluster.metric(name, "marquee_steps_total"))
            self.edit(cluster, CLUSTER.replace("workers: {count: 2, ", "workers: [{name: w2, ").replace("cpu}", "cpu}]"))
            wait_for(lambda: len(cluster.children("worker")) == 1, "the others have ended")
            self.assertIsNotNone(self.pid(cluster, "worker", "w2"))
            wait_for(lambda: f"{trained_on} ended: exit code 143; not started again" in cluster.output(), "the scheduler says so")
            self.check_finished(cluster)
            self.assertNotIn("is not followed", cluster.output())


if __name__ == "__main__":
    unittest.main(verbosity=2)
