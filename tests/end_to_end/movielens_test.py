"""From raw files to a leaderboard: wrangles real MovieLens 1M with The Movies Dataset where MARQUEE_DATA has them (the synthetic data
set elsewhere, saying so), trains both models for a little on a local cluster, and holds the results against the baselines."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "cluster"))

from cluster import BIN, Cluster  # noqa: E402

DATA = pathlib.Path(os.environ.get("MARQUEE_DATA") or SOURCE / "../shared/data")

SWEEP = """
models:
  two_tower:
    kind: two_tower
    dim: 32
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: in_batch_softmax, logq: true, accidental_hits: remove}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: 2
    batch_size: 8192
  ranking:
    kind: ranking
    dim: 32
    tower: {features: [user_id, movie_id, movie_genres, user_gender, {name: user_zip_code, dim: 8}, {name: director, dim: 8}, timestamp], layers: [64]}
    bias: true
    loss: {kind: squared_error}
    optimizer: {kind: adam, learning_rate: 0.003}
    epochs: 2
    batch_size: 8192
sweep: {method: grid, models: [two_tower, ranking]}
"""


def real_data_is_here():
    return (DATA / "ml-1m" / "ratings.dat").exists() and (DATA / "the-movies-dataset" / "credits.csv").exists()


def wrangle(out):
    command = [BIN / "wrangle", "--out", out]
    if real_data_is_here():
        movies = DATA / "the-movies-dataset"
        command += ["--movielens", DATA / "ml-1m", "--links", movies / "links.csv"]
        command += ["--metadata", movies / "movies_metadata.csv", "--credits", movies / "credits.csv"]
    else:
        print(f"no real MovieLens under {DATA} (MARQUEE_DATA): using the synthetic data set", flush=True)
        command += ["--synthetic", "ml-1m"]
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


class MovieLensTest(unittest.TestCase):
    def test_short_training_beats_the_baselines(self):
        with tempfile.TemporaryDirectory() as folder:
            data = pathlib.Path(folder) / "ml-1m.mq"
            output = wrangle(data)
            for count in ("6,040", "1,000,209"):
                self.assertIn(count, output.replace("1000209", "1,000,209").replace("6040", "6,040"))
            with Cluster(SWEEP, data=data) as cluster:
                self.assertEqual(cluster.start().wait(1500), 0)
                board = cluster.leaderboard()
        self.assertEqual(board["dataset"]["ratings"], 1000209)
        self.assertEqual(board["dataset"]["users"], 6040)
        self.assertEqual(board["dataset"]["movies"], 3706)
        self.assertEqual(board["dataset"]["synthetic"], not real_data_is_here())
        baselines = {baseline["name"]: baseline["metrics"] for baseline in board["baselines"]}
        trials = {trial["model"]: trial for trial in board["trials"]}
        self.assertEqual({trial["status"] for trial in trials.values()}, {"finished"})
        test = trials["two_tower"]["metrics"]["test"]
        self.assertGreater(test["top_100_unseen"], baselines["popularity"]["top_100_unseen"] + 0.03)
        self.assertLess(trials["ranking"]["metrics"]["test"]["rmse"], baselines["bias only"]["rmse"] + 0.01)
        for trial in trials.values():
            self.assertEqual(trial["examples"], 2 * board["dataset"]["train"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
