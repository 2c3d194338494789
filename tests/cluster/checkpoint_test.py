"""Checkpoints on real processes: a sweep whose processes are all killed goes on from the last one, and ends as if nothing had
happened; damaged files are refused by name and the checkpoint before is used; a full disk stops nothing."""

import os
import signal
import subprocess
import unittest

from cluster import BIN, RANKING, Cluster, models, training, wait_for

CLUSTER = """
cluster:
  name: checkpoints
  launcher: local
  partitions: 16
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: SERVERS, shards: 2}
  workers: {count: WORKERS, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 5
  CHECKPOINTS
"""

EPOCHS = 16


def cluster_text(servers=2, workers=1, checkpoints=""):
    return CLUSTER.replace("SERVERS", str(servers)).replace("WORKERS", str(workers)).replace("CHECKPOINTS", checkpoints)


def sweep(workers=1, mode="synchronous"):
    return models(EPOCHS, RANKING) + (
        f"sweep: {{method: grid, models: [ranking], workers_per_trial: {workers}, consistency: {{mode: {mode}}}, chunk_batches: 2}}\n"
    )


def checkpoint(*arguments):
    return subprocess.run([BIN / "marquee", "checkpoint", *arguments], capture_output=True, text=True)


def outcome(cluster):
    """What of a trial's result must not depend on kills: not how long it took."""
    trial = cluster.leaderboard()["trials"][0]
    kept = {key: trial[key] for key in ("status", "epochs", "examples", "repeated_examples")}
    return kept | {part: trial["metrics"][part] for part in ("validation", "test")}


def losses(cluster):
    return cluster.leaderboard()["trials"][0]["epoch_losses"]


class CheckpointTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Cluster(sweep(), cluster_text=cluster_text()) as cluster:
            cluster.start()
            assert cluster.wait() == 0
            cls.undisturbed = outcome(cluster)
            cls.losses = losses(cluster)
        assert cls.undisturbed["status"] == "finished"

    def made(self, cluster):
        folder = cluster.out / "checkpoints"
        return sorted(path.parent for path in folder.glob("checkpoint-*/MANIFEST"))

    def killed_after(self, cluster, checkpoints):
        cluster.start()
        wait_for(lambda: len(self.made(cluster)) >= checkpoints or not cluster.running(), f"{checkpoints} checkpoints")
        self.assertTrue(cluster.running(), "the sweep was over before it had made its checkpoints")
        cluster.kill()

    def test_goes_on_bit_for_bit_after_all_processes_were_killed(self):
        text = cluster_text(checkpoints="checkpoints: {every_seconds: 0.3, keep: 2, full_every: 3}")
        with Cluster(sweep(), cluster_text=text) as cluster:
            self.killed_after(cluster, 2)
            cluster.cluster_file.write_text(text.replace("count: 2", "count: 3"))  # with other servers than before
            cluster.start("--resume")
            self.assertEqual(cluster.wait(), 0)
            self.assertIn("a trial goes on from a checkpoint", cluster.output())
            self.assertEqual(outcome(cluster), self.undisturbed)
            # Sums of what workers report now and then: their last digits depend on when that is.
            for loss, expected in zip(losses(cluster), self.losses, strict=True):
                self.assertAlmostEqual(loss, expected, places=9)
            folder = cluster.out / "checkpoints"
            listed = checkpoint("list", folder)
            self.assertEqual(listed.returncode, 0, listed.stderr)
            self.assertIn("ranking", listed.stdout)
            verified = checkpoint("verify", folder)
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
            # Two, and what these build on: never more than a full one and the increments since.
            self.assertLessEqual(len(self.made(cluster)), 2 + 2)

    def test_damaged_checkpoint_is_refused_and_the_one_before_is_used(self):
        text = cluster_text(checkpoints="checkpoints: {every_seconds: 0.3, keep: 3, full_every: 1}")
        with Cluster(sweep(), cluster_text=text) as cluster:
            self.killed_after(cluster, 3)
            newest, before = self.made(cluster)[-1], self.made(cluster)[-2]
            # A flipped byte among the rows of one, which only reading them shows; a missing file of the other.
            rows = max(newest.glob("shard-*"), key=lambda path: path.stat().st_size)
            content = bytearray(rows.read_bytes())
            content[len(content) // 3] ^= 1
            rows.write_bytes(content)
            missing = next(before.glob("shard-*"))
            missing.unlink()
            verified = checkpoint("verify", newest.parent)
            self.assertEqual(verified.returncode, 1)
            self.assertIn(f"DAMAGED: {rows}", verified.stdout)
            self.assertIn(f"DAMAGED: {missing}", verified.stdout)
            cluster.start("--resume")
            self.assertEqual(cluster.wait(), 0)
            self.assertIn(str(rows), cluster.output())
            self.assertIn(str(missing), cluster.output())
            self.assertEqual(outcome(cluster), self.undisturbed)

    def test_lost_server_without_a_copy_costs_only_what_was_trained_since(self):
        text = cluster_text(workers=2, checkpoints="checkpoints: {every_seconds: 0.3}")
        with Cluster(sweep(workers=2, mode="async"), workers=2, cluster_text=text) as cluster:
            cluster.start()
            wait_for(lambda: len(self.made(cluster)) >= 2 or not cluster.running(), "2 checkpoints")
            self.assertTrue(cluster.running(), "the sweep was over before it had made its checkpoints")
            os.kill(next(iter(cluster.children("ps"))), signal.SIGKILL)
            self.assertEqual(cluster.wait(), 0)
            self.assertIn("a trial goes on from a checkpoint", cluster.output())
            self.assertEqual(outcome(cluster)["status"], "finished")
            self.assertEqual(outcome(cluster)["examples"], self.undisturbed["examples"])

    def test_request_and_a_disk_that_cannot_be_written(self):
        with Cluster(sweep(workers=2, mode="async"), workers=2) as cluster:
            folder = cluster.folder / "disk"
            folder.mkdir()
            text = cluster_text(workers=2, checkpoints=f"checkpoints: {{every_seconds: 0, folder: {folder}}}")
            cluster.cluster_file.write_text(text)
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode == 0
            if not mounted:
                print("no tmpfs can be mounted: a folder without permission stands for the full disk")
                folder.chmod(0o500)
            try:
                cluster.start()
                wait_for(lambda: training(cluster), "training")
                os.kill(cluster.process.pid, signal.SIGUSR1)
                wait_for(lambda: cluster.metric("scheduler", "marquee_checkpoints_failed_total"), "the checkpoint is given up")
                self.assertEqual(checkpoint("list", folder).returncode, 1, "nothing half is visible")
                self.assertEqual(list(folder.glob("*/*.tmp")), [])
                self.assertEqual(cluster.wait(), 0)
                self.assertIn("No space left on device" if mounted else "Permission denied", cluster.output())
                self.assertEqual(outcome(cluster)["status"], "finished")
            finally:
                folder.chmod(0o700)
                if mounted:
                    subprocess.run(["umount", folder], check=True)

    def test_request_without_an_interval(self):
        text = cluster_text(workers=2, checkpoints="checkpoints: {every_seconds: 0}")
        with Cluster(sweep(workers=2, mode="async"), workers=2, cluster_text=text) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            self.assertEqual(self.made(cluster), [])
            os.kill(cluster.process.pid, signal.SIGUSR1)
            made = wait_for(lambda: self.made(cluster), "the checkpoint is there")
            self.assertEqual(len(made), 1)
            self.assertEqual(cluster.wait(), 0)


if __name__ == "__main__":
    unittest.main()
