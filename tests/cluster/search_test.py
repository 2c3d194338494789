"""Searches on a real local cluster: successive halving, seeds, early stopping, kept models, warm starts, edited sweeps."""

import json
import pathlib
import struct
import unittest

from cluster import RANKING, TWO_TOWER, Cluster, models, wait_for

ASHA = models(4, TWO_TOWER) + """
sweep:
  method: asha
  models: [two_tower]
  parameters:
    lr: {distribution: log_uniform_values, min: 0.001, max: 1}
    dim: {values: [4, 8, 16]}
  max_trials: 8
  max_t: 4
  grace_period: 1
  reduction_factor: 2
"""


def grid(dims, epochs=1, rest=""):
    return models(epochs, TWO_TOWER) + f"sweep: {{models: [two_tower], parameters: {{dim: {{values: {dims}}}}}{rest}}}\n"


def by_name(board):
    return {trial["name"]: trial for trial in board["trials"]}


def read_rows(folder, table):
    """The rows of a kept table as {id: weights}."""
    row = struct.Struct(f"<Q{table['dim']}f")
    data = (folder / table["file"]).read_bytes()
    rows = {}
    for at in range(0, len(data), row.size):
        values = row.unpack_from(data, at)
        rows[values[0]] = values[1:]
    return rows


class AshaTest(unittest.TestCase):
    def check(self, board):
        trials = board["trials"]
        self.assertEqual(len(trials), 8)
        finished = [trial for trial in trials if trial["status"] == "finished"]
        stopped = [trial for trial in trials if trial["status"] == "stopped"]
        self.assertEqual(len(finished) + len(stopped), 8)
        self.assertGreaterEqual(len(finished), 1)
        self.assertGreaterEqual(len(stopped), 2)
        self.assertEqual(trials[: len(finished)], finished)
        for trial in stopped:
            epoch = trial["stopped"]["epoch"]
            self.assertEqual(trial["stopped"]["by"], "asha")
            self.assertIn(epoch, (1, 2))
            self.assertEqual(trial["epochs"], epoch)
            self.assertEqual(trial["examples"], epoch * board["dataset"]["train"])
            self.assertEqual(trial["metrics"]["test"], {})
            score = trial["curve"][epoch - 1]["validation"]["top_100"]
            others = [other["curve"][epoch - 1]["validation"]["top_100"] for other in trials if other["epochs"] >= epoch]
            self.assertLess(score, max(others))
        for trial in finished:
            self.assertEqual([point["epoch"] for point in trial["curve"]], [1, 2, 3, 4])
            self.assertEqual(["validation" in point for point in trial["curve"]], [True, True, False, True])
            self.assertIn("top_100", trial["metrics"]["test"])
        self.assertEqual([trial["name"] for trial in trials if "model_folder" in trial], [finished[0]["name"]])

    def test_stops_the_worse_and_keeps_the_best_through_a_killed_scheduler(self):
        with Cluster(ASHA) as cluster:
            cluster.start()
            wait_for(lambda: "stopped at epoch" in cluster.output() or not cluster.running(), "a stopped trial")
            self.assertTrue(cluster.running())
            cluster.kill()
            self.assertEqual(cluster.start("--resume").wait(), 0)
            self.check(cluster.leaderboard())
            # The same sweep asks for nothing more, and draws the same trials.
            board = cluster.leaderboard()
            self.assertEqual(cluster.start("--resume").wait(), 0)
            self.assertEqual(cluster.leaderboard()["trials"], board["trials"])


class SeedsTest(unittest.TestCase):
    def test_seeds_are_one_row_and_early_stopping_ends_trials(self):
        sweep = models(30, RANKING) + (
            "sweep: {models: [ranking], seeds: 2, early_stopping: {patience: 1, min_delta: 0.02}, "
            "parameters: {lr: {values: [0.1]}}}\n"
        )
        with Cluster(sweep) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            board = cluster.leaderboard()
            self.assertEqual([trial["name"] for trial in board["trials"]], ["ranking-learning_rate=0.1"])
            trial = board["trials"][0]
            self.assertEqual([seed["seed"] for seed in trial["seeds"]], [1, 2])
            rmse = [seed["metrics"]["test"]["rmse"] for seed in trial["seeds"]]
            self.assertAlmostEqual(trial["metrics"]["test"]["rmse"], sum(rmse) / 2)
            self.assertAlmostEqual(trial["deviation"]["test"]["rmse"], abs(rmse[0] - rmse[1]) / 2**0.5)
            for seed in trial["seeds"]:
                self.assertEqual(seed["stopped"]["by"], "early_stopping")
                curve = [point["validation"]["rmse"] for point in seed["curve"]]
                self.assertEqual(len(curve), seed["stopped"]["epoch"])
                self.assertGreater(curve[-1], min(curve[:-1]) - 0.02)


class KeptModelTest(unittest.TestCase):
    def check_kept(self, cluster, board):
        """The best trial's model is there, and no other; returns its folder."""
        best = board["trials"][0]
        self.assertEqual([path.name for path in sorted((cluster.out / "models").iterdir())], [best["name"]])
        folder = cluster.out / best["model_folder"]
        manifest = json.loads((folder / "manifest.json").read_text())
        self.assertEqual(manifest["trial"], best["name"])
        self.assertEqual(manifest["metrics"]["test"], best["metrics"]["test"])
        self.assertEqual(manifest["split"]["checksum"], board["dataset"]["split_checksum"])
        self.assertEqual(manifest["data"]["file"], str(pathlib.Path(cluster.data).absolute()))
        self.assertIn(f"dim: {best['params']['dim']}", manifest["configuration"])
        names = [table["name"] for table in manifest["tables"]]
        self.assertEqual(sorted(names), ["candidate_movie_id", "query_user_id"])
        for table in manifest["tables"]:
            rows = read_rows(folder, table)
            self.assertEqual(len(rows), table["rows"])
            self.assertGreater(len(rows), 100)
            self.assertTrue(any(any(values) for values in rows.values()))
        self.assertEqual(len(list(folder.iterdir())), 1 + len(names))
        return folder

    def test_edited_sweep_goes_on_and_the_best_is_replaced(self):
        with Cluster(grid([2, 4])) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            first = by_name(cluster.leaderboard())
            self.check_kept(cluster, cluster.leaderboard())
            cluster.sweep_file.write_text(grid([4, 32]))
            self.assertEqual(cluster.start("--resume").wait(), 0)
            board = cluster.leaderboard()
            second = by_name(board)
            self.assertEqual(sorted(second), ["two_tower-dim=32", "two_tower-dim=4"])
            kept = {key: second["two_tower-dim=4"][key] for key in ("metrics", "seconds", "examples")}
            self.assertEqual(kept, {key: first["two_tower-dim=4"][key] for key in kept})
            # Another configuration under a name that has a result is refused, with both.
            cluster.sweep_file.write_text(grid([4, 32], epochs=2))
            self.assertEqual(cluster.start("--resume").wait(), 1)
            for words in ("'two_tower-dim=4'", "epochs: 1", "epochs: 2"):
                self.assertIn(words, cluster.output())

    def test_warm_start_begins_where_the_kept_model_ended(self):
        with Cluster(grid([16], epochs=3)) as cluster:
            self.assertEqual(cluster.start().wait(), 0)
            cold = cluster.leaderboard()["trials"][0]
            folder = self.check_kept(cluster, cluster.leaderboard())
            warm_sweep = models(1, TWO_TOWER) + (
                "sweep:\n  trials:\n"
                f"    - {{name: warm, model: two_tower, start_from: {folder}}}\n"
                f"    - {{name: misfit, model: two_tower, start_from: {folder}, set: {{dim: 8}}}}\n"
            )
            with Cluster(warm_sweep, servers=1, shards=3) as warm_cluster:
                self.assertEqual(warm_cluster.start().wait(), 3)
                trials = by_name(warm_cluster.leaderboard())
                self.assertLess(trials["warm"]["curve"][0]["loss"], cold["curve"][0]["loss"] - 0.1)
                self.assertEqual(trials["misfit"]["status"], "failed")
                self.assertIn("has dim 16; this trial's has 8", trials["misfit"]["reason"])
            other_split = warm_sweep.replace("sweep:\n", "sweep:\n  split: {seed: 7}\n")
            with Cluster(other_split) as refused:
                self.assertEqual(refused.start().wait(), 1)
                self.assertIn("another split", refused.output())


if __name__ == "__main__":
    unittest.main(verbosity=2)
