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

EPOCHS = 24
SWEEP = models(EPOCHS, RANKING) + (
    "sweep: {method: grid, models: [ranking], workers_per_trial: 1, consistency: {mode: async}, chunk_batches: 2}\n"
)


class EditsTest(unittest.TestCase):
    def edit(self, cluster, text, refused=None):
        """Replaces the file and asks for it to be read; or, to be refused, writes it in place and lets it be noticed."""
        if refused is None:
            draft = cluster.folder / "draft.yaml"
            draft.write_text(text)
            draft.rename(cluster.cluster_file)
            os.kill(cluster.process.pid, signal.SIGHUP)
            return
        before = cluster.metric("scheduler", "marquee_cluster_edits_refused_total") or 0
        cluster.cluster_file.write_text(text)
        wait_for(lambda: (cluster.metric("scheduler", "marquee_cluster_edits_refused_total") or 0) > before, "the edit is refused")
        self.assertIn(refused, cluster.output())

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
            self.edit(cluster, "cluster: {servers: [", refused="not YAML")
            self.edit(cluster, CLUSTER.replace("partitions: 16", "partitions: 32"), refused="key 'cluster.partitions': value '32': was '16'")
            self.edit(cluster, CLUSTER.replace("{count: 2, shards", "{count: 1, shards"), refused="replication is 2 and there is 1 server")
            self.edit(cluster, CLUSTER.replace("shards: 2", "shards: 1"), refused="key 'cluster.servers': 's0' has")
            self.assertEqual(set(cluster.children()), before)
            # What runs does not lean on the broken file.
            self.edit(cluster, "cluster:\n  servers", refused="key 'cluster': value 'servers'")
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
            self.assertIn(f"{trained_on} ended", cluster.output())
            self.assertIn("not started again", cluster.output())
            self.check_finished(cluster)
            self.assertNotIn("is not followed", cluster.output())


if __name__ == "__main__":
    unittest.main(verbosity=2)
