"""Sweeps on a real local cluster: to the end, under kill -9, resumed, repeated bit for bit."""

import os
import signal
import unittest

from cluster import CLUSTER, RANKING, TWO_TOWER, Cluster, models, training, wait_for

SHORT = models(1, TWO_TOWER, RANKING) + "sweep: {method: grid, models: [two_tower, ranking]}\n"


def long_trial(workers, consistency="{mode: async}", epochs=8):
    return models(epochs, TWO_TOWER) + (
        f"sweep: {{method: grid, models: [two_tower], workers_per_trial: {workers}, consistency: {consistency}, chunk_batches: 2}}\n"
    )


class SweepTest(unittest.TestCase):
    def check_finished(self, board, trials, epochs):
        self.assertEqual([trial["status"] for trial in board["trials"]], ["finished"] * trials)
        for trial in board["trials"]:
            self.assertEqual(trial["examples"], epochs * board["dataset"]["train"], trial["name"])

    def test_small_sweep_ends_with_a_leaderboard(self):
        with Cluster(SHORT) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            board = cluster.leaderboard()
            self.check_finished(board, 2, 1)
            self.assertTrue(board["dataset"]["synthetic"])
            self.assertIn("synthetic", cluster.output())
            baselines = {baseline["name"]: baseline["metrics"] for baseline in board["baselines"]}
            self.assertIn("top_100_unseen", baselines["popularity"])
            for trial in board["trials"]:
                for part in ("validation", "test"):
                    metrics = trial["metrics"][part]
                    wanted = ["top_1", "top_100", "top_100_unseen"] if trial["model"] == "two_tower" else ["rmse", "mae"]
                    for name in wanted:
                        self.assertIn(name, metrics)
            # Refused without --resume; resumed, there is nothing left to do and the results are the same.
            self.assertNotEqual(cluster.start().wait(), 0)
            self.assertEqual(cluster.start("--resume").wait(), 0)
            self.assertEqual(cluster.leaderboard()["trials"], board["trials"])

    def test_killed_worker_does_not_change_the_example_count(self):
        with Cluster(long_trial(2)) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            os.kill(next(iter(cluster.children("worker"))), signal.SIGKILL)
            self.assertEqual(cluster.wait(), 0)
            self.check_finished(cluster.leaderboard(), 1, 8)

    def test_killed_only_worker_is_replaced(self):
        with Cluster(long_trial(1), workers=1) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            os.kill(next(iter(cluster.children("worker"))), signal.SIGKILL)
            self.assertEqual(cluster.wait(), 0)
            self.check_finished(cluster.leaderboard(), 1, 8)

    def test_step_longer_than_the_lease(self):
        # Of one batch and wide layers: several seconds on one core.
        wide = RANKING.replace("[32]", "[2048, 1024, 1024]").replace("512", "32768")
        short_lease = CLUSTER.format(launcher="local", port=0, servers=1, shards=1, workers=1)
        short_lease = short_lease.replace("lease_seconds: 5", "lease_seconds: 1").replace("0.5", "0.2")
        with Cluster(models(1, wide) + "sweep: {method: grid, models: [ranking]}\n", cluster_text=short_lease) as cluster:
            cluster.start()
            lost, longest = [], []

            def ended():
                lost.append(cluster.metric("scheduler", "marquee_members_lost_total"))
                longest.append(cluster.metric("w0", "marquee_step_seconds_sum"))
                cluster.children()
                return not cluster.running()

            wait_for(ended, "the sweep ends")
            self.assertEqual(cluster.process.returncode, 0)
            self.check_finished(cluster.leaderboard(), 1, 1)
            self.assertEqual({value for value in lost if value is not None}, {0.0})
            self.assertGreater(max(value for value in longest if value is not None), 1)

    def test_lost_server_restarts_the_trial(self):
        with Cluster(long_trial(1)) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            os.kill(next(iter(cluster.children("ps"))), signal.SIGKILL)
            self.assertEqual(cluster.wait(), 0)
            self.check_finished(cluster.leaderboard(), 1, 8)

    def test_killed_scheduler_resumes_the_sweep(self):
        sweep = models(4, TWO_TOWER) + "sweep: {method: grid, models: [two_tower], parameters: {dim: {values: [8, 16, 24, 32]}}}\n"
        with Cluster(sweep) as cluster:
            cluster.start()
            wait_for(lambda: cluster.running() and "finished" in cluster.output(), "a finished trial")
            cluster.kill()
            self.assertEqual(cluster.start("--resume").wait(), 0)
            self.check_finished(cluster.leaderboard(), 4, 4)

    def test_synchronous_runs_repeat_bit_for_bit(self):
        sweep = long_trial(2, "{mode: synchronous}", epochs=1)
        results = []
        for servers, shards in ((1, 1), (2, 2)):
            with Cluster(sweep, servers=servers, shards=shards) as cluster:
                self.assertEqual(cluster.start().wait(), 0)
                self.check_finished(cluster.leaderboard(), 1, 1)
                results.append(cluster.leaderboard()["trials"][0]["metrics"])
        self.assertEqual(results[0], results[1])

    def test_bounded_staleness_is_kept(self):
        with Cluster(long_trial(2, "{mode: bounded, staleness: 2}", epochs=4)) as cluster:
            cluster.start()
            violations = []

            def ended():
                for worker in ("w0", "w1"):
                    violations.append(cluster.metric(worker, "marquee_staleness_violations_total"))
                cluster.children()
                return not cluster.running()

            wait_for(ended, "the sweep ends")
            self.assertEqual(cluster.process.returncode, 0)
            self.assertIn(0.0, violations)
            self.assertEqual({value for value in violations if value is not None}, {0.0})

    def test_interrupt_leaves_no_process(self):
        with Cluster(long_trial(1)) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            children = cluster.children()
            self.assertEqual(len(children), 4)
            cluster.process.send_signal(signal.SIGINT)
            self.assertEqual(cluster.wait(30), 130)


if __name__ == "__main__":
    unittest.main(verbosity=2)
