"""Kept models of every kind, used: `marquee recommend` for people and programs, and `marquee export` loaded by numpy and PyTorch, where it must
give the scores that marquee itself gives. Runs under a Python that has both (Debian: python3-numpy, python3-torch)."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))

from cluster import BIN, models  # noqa: E402
from kept_models import KeptModelsTest  # noqa: E402

TOWERS = """
  towers:
    kind: two_tower
    dim: 8
    query: {features: [{name: movie_id, kind: history, pooling: mean}, user_gender], layers: [16, 8]}
    candidate: {features: [movie_id, movie_genres], layers: [8]}
    bias: true
    seen_bias: true
    ensemble: 2
    loss: {kind: full_softmax, mask: 0.4}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: EPOCHS
    batch_size: 512
"""

SEQUENCE = """
  sequence:
    kind: sequence
    dim: 8
    sequence: {length: 20, blocks: 1, heads: 2}
    loss: {kind: full_softmax}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: EPOCHS
    batch_size: 1024
"""

RANKING = """
  ranking:
    kind: ranking
    dim: 8
    tower: {features: [user_id, movie_genres, timestamp, {name: director, kind: history}], layers: [8]}
    dot: {user: {features: [user_id]}, item: {features: [movie_id]}, implicit: {ratings: true, leave_out: true}}
    bias: true
    ensemble: 2
    loss: {kind: squared_error}
    optimizer: {kind: adagrad, learning_rate: 0.05}
    epochs: EPOCHS
    batch_size: 512
"""

CROSSED = """
  crossed:
    kind: dcn
    dim: 4
    tower: {features: [user_id, movie_id, movie_genres, release_date], layers: [16]}
    cross: {layers: 2, rank: 4, structure: parallel}
    loss: {kind: squared_error}
    optimizer: {kind: adam, learning_rate: 0.005}
    epochs: EPOCHS
    batch_size: 512
"""

LISTS = """
  lists:
    kind: listwise
    dim: 8
    dot: {user: {features: [user_id]}, item: {features: [movie_id]}}
    bias: true
    loss: {kind: list_mle}
    list_size: 10
    optimizer: {kind: adagrad, learning_rate: 0.03}
    epochs: EPOCHS
    batch_size: 512
"""

JOINT = """
  joint:
    kind: joint
    dim: 8
    query: {features: [{name: movie_id, kind: history, weight: rating}, user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: in_batch_softmax}
    retrieval: {weight: 1.0, projection: 6, bias: true, seen_bias: true}
    rating: {weight: 1.0, projection: 4, layers: [8], dot: true, bias: true}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: EPOCHS
    batch_size: 512
"""

NAMES = ["towers", "sequence", "ranking", "crossed", "lists", "joint"]
SWEEP = models(2, TOWERS, SEQUENCE, RANKING, CROSSED, LISTS, JOINT) + f"sweep: {{models: [{', '.join(NAMES)}], keep: all}}\n"
EVERYTHING = "100000"


def marquee(*arguments):
    return subprocess.run([BIN / "marquee", *arguments], capture_output=True, text=True)


class ServingTest(KeptModelsTest):
    sweep = SWEEP

    def recommended(self, name, *arguments):
        result = marquee("recommend", *self.model(name), *arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        answer = json.loads(result.stdout)
        self.assertEqual(len(answer["users"]), 1)
        return answer | answer["users"][0]

    def refused(self, *arguments):
        result = marquee(*arguments)
        self.assertEqual(result.returncode, 1, result.stdout)
        return result.stderr

    def exported(self, name, *arguments):
        out = self.folder / f"export-{name}"
        result = marquee("export", *self.model(name), "--out", out, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out, json.loads((out / "manifest.json").read_text())

    # ------------------------------------------------------------------------------------------------------- recommend

    def test_recommends_for_people(self):
        for name in NAMES:
            result = marquee("recommend", *self.model(name), "--user", "42", "--top", "7")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("Movies for user 42", result.stdout)
            lines = [line for line in result.stdout.splitlines() if line[:3].strip().isdigit()]
            self.assertEqual(len(lines), 7, result.stdout)
            speaks = "because of" if name in ("towers", "joint") else "like"
            self.assertIn(f"     {speaks} ", result.stdout)
            predicts = name in ("ranking", "crossed", "joint")
            self.assertEqual("predicted" in lines[0], predicts, result.stdout)

    def test_unseen_leaves_out_what_the_user_has_rated(self):
        for name in NAMES:
            every = self.recommended(name, "--user", "42", "--top", EVERYTHING)["movies"]
            unseen = self.recommended(name, "--user", "42", "--top", "10", "--unseen")["movies"]
            self.assertTrue(any(movie["seen"] for movie in every))
            self.assertFalse(any(movie["seen"] for movie in unseen))
            want = [movie["movie"] for movie in every if not movie["seen"]][:10]
            self.assertEqual([movie["movie"] for movie in unseen], want)
            for movie in unseen:
                self.assertTrue(movie["title"] and movie["because"], movie)
                shares = [reason["share"] for reason in movie["because"]]
                self.assertEqual(shares, sorted(shares, reverse=True))

    def test_recommends_to_guests(self):
        best = self.recommended("towers", "--user", "42")["best_liked"]
        for name in ("towers", "joint"):
            by_key = [argument for movie in best for argument in ("--rate", f"{movie['movie']}={movie['rating']:g}")]
            result = marquee("recommend", *self.model(name), *by_key, "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            guest = json.loads(result.stdout)["guest"]
            self.assertEqual([movie["movie"] for movie in guest["rated_movies"]], [movie["movie"] for movie in best])
            self.assertEqual(len(guest["movies"]), 10)
            self.assertFalse({movie["movie"] for movie in guest["movies"]} & {movie["movie"] for movie in best})
            # Other ratings, other movies; and each says which of the ratings speak for it.
            other = json.loads(marquee("recommend", *self.model(name), "--rate", f"{best[0]['movie']}=1", "--json").stdout)["guest"]
            self.assertNotEqual([movie["movie"] for movie in other["movies"]], [movie["movie"] for movie in guest["movies"]])
            rated = {movie["movie"] for movie in best}
            self.assertTrue(any(movie["because"] for movie in guest["movies"]))
            for movie in guest["movies"]:
                self.assertLessEqual({reason["movie"] for reason in movie["because"]}, rated)

        title = best[0]["title"].upper()
        text = marquee("recommend", *self.model("towers"), "--rate", f"{title}=5")
        self.assertEqual(text.returncode, 0, text.stderr)
        self.assertIn(best[0]["title"], text.stdout)
        for rating in ("=", "0", "six", "nan"):
            self.assertIn("must be MOVIE=RATING", self.refused("recommend", *self.model("towers"), "--rate", f"{title}={rating}"))
        self.assertIn("no movie has", self.refused("recommend", *self.model("towers"), "--rate", "zzzz qqqq=5"))
        self.assertIn("rated already", self.refused("recommend", *self.model("towers"), "--rate", f"{title}=5", "--rate", f"{title}=4"))
        self.assertEqual(marquee("recommend", *self.model("towers")).returncode, 2)

    def test_approximate_index_says_what_it_finds(self):
        exact = self.recommended("towers", "--user", "42", "--unseen")
        approximate = self.recommended("towers", "--user", "42", "--unseen", "--approximate")
        self.assertNotIn("index_recall", exact)
        self.assertGreater(approximate["index_recall"], 0.9)
        same = {movie["movie"] for movie in exact["movies"]} & {movie["movie"] for movie in approximate["movies"]}
        self.assertGreaterEqual(len(same), 9)

    def test_several_users_at_once(self):
        result = marquee("recommend", *self.model("ranking"), "--user", "42", "--user", "7", "--json")
        users = json.loads(result.stdout)["users"]
        self.assertEqual([user["user"] for user in users], ["42", "7"])
        for user in users:
            ratings = [movie["rating"] for movie in user["best_liked"]]
            self.assertEqual(ratings, sorted(ratings, reverse=True))
            self.assertEqual(len(ratings), min(5, user["rated"]))

    def test_bad_input_is_refused_by_name(self):
        self.assertIn("no vectors", self.refused("recommend", *self.model("ranking"), "--user", "42", "--approximate"))
        self.assertIn("user_id 99999999", self.refused("recommend", *self.model("towers"), "--user", "99999999"))
        self.assertIn("towers", self.refused("recommend", "--model", self.folder, "--data", self.data, "--user", "42"))
        self.assertIn("no-such-folder", self.refused("recommend", "--model", self.folder / "no-such-folder", "--user", "42"))
        other = self.folder / "other.mq"
        subprocess.run([BIN / "wrangle", "--synthetic", "ml-1m", "--out", other], check=True, capture_output=True)
        self.assertIn("other.mq", self.refused("recommend", *self.model("towers")[:2], "--data", other, "--user", "42"))

        broken = self.folder / "broken"
        shutil.copytree(self.folder / "models" / "ranking", broken)
        rows = sorted(broken.glob("*.rows"))[0]
        content = bytearray(rows.read_bytes())
        content[len(content) // 2] ^= 1
        rows.write_bytes(content)
        self.assertIn(rows.name, self.refused("recommend", "--model", broken, "--data", self.data, "--user", "42"))

        full = self.folder / "full"
        full.mkdir()
        (full / "letter.txt").write_text("keep me")
        self.assertIn("full", self.refused("export", *self.model("towers"), "--out", full))
        self.assertEqual([path.name for path in full.iterdir()], ["letter.txt"])

    # ---------------------------------------------------------------------------------------------------------- export

    def test_retrieval_exports_give_the_same_scores(self):
        for name in ("towers", "sequence", "joint"):
            out, manifest = self.exported(name)
            retrieval = manifest["retrieval"]
            vectors = {side: numpy.load(out / retrieval[side]) for side in ("users", "movies")}
            for side, encoder in (("users", "query"), ("movies", "candidate")):
                module = torch.jit.load(str(out / retrieval[encoder]["module"]))
                inputs = [torch.from_numpy(numpy.load(out / file)) for file in retrieval[encoder]["inputs"]]
                numpy.testing.assert_allclose(module(*inputs).numpy(), vectors[side], atol=1e-4)

            users = list(numpy.load(out / manifest["users"]["keys"]))
            movies = list(numpy.load(out / manifest["movies"]["keys"]))
            bias = numpy.load(out / retrieval["seen_bias"]) if "seen_bias" in retrieval else numpy.zeros(len(movies))
            for user in ("1", "42"):
                scores = vectors["movies"] @ vectors["users"][users.index(user)]
                every = self.recommended(name, "--user", user, "--top", EVERYTHING)["movies"]
                self.assertEqual(len(every), len(movies))
                for movie in every:
                    row = movies.index(movie["movie"])
                    self.assertAlmostEqual(movie["score"], scores[row] + (bias[row] if movie["seen"] else 0), delta=1e-3)

    def test_rating_exports_give_the_same_predictions(self):
        for name in ("ranking", "crossed", "lists", "joint"):
            out, manifest = self.exported(name)
            rating = manifest["rating"]
            self.assertEqual(rating["meaning"], "score" if name == "lists" else "rating")
            users = list(numpy.load(out / manifest["users"]["keys"]))
            movies = list(numpy.load(out / manifest["movies"]["keys"]))
            user = users.index("42")
            predictions = numpy.full(len(movies), rating["constant"])
            if "users" in rating:
                predictions += numpy.load(out / rating["movies"]) @ numpy.load(out / rating["users"])[user]
            self.assertEqual(bool(rating["parts"]), name != "lists")
            for part in rating["parts"]:
                sides = {side: torch.from_numpy(numpy.load(out / part[side])) for side in ("users", "movies", "context")}
                module = torch.jit.load(str(out / part["module"]))
                output = module(sides["users"][user].repeat(len(movies), 1), sides["movies"], sides["context"].repeat(len(movies), 1))
                predictions += part["weight"] * output.numpy().flatten()
            every = self.recommended(name, "--user", "42", "--top", EVERYTHING)["movies"]
            for movie in every:
                want = predictions[movies.index(movie["movie"])]
                got = movie["score"] if name == "lists" else movie["rating"]
                self.assertAlmostEqual(got, want if name == "lists" else min(max(want, 1), 5), delta=1e-3)

    def test_tables_and_ids(self):
        out, manifest = self.exported("ranking")
        columns = {column["name"]: column for column in manifest["columns"]}
        tables = {table["name"]: table for table in manifest["tables"]}
        table = tables["member0_item_movie_id"]
        weights, ids = numpy.load(out / table["weights"]), numpy.load(out / table["ids"])
        self.assertEqual(weights.shape, (table["rows"], 8))
        self.assertEqual(len(set(ids)), table["rows"])
        known = dict(zip(numpy.load(out / columns["movie_id"]["ids"]), numpy.load(out / columns["movie_id"]["values"])))
        self.assertTrue(set(known[i] for i in ids) <= set(numpy.load(out / manifest["movies"]["keys"])))

    def test_an_export_replaces_an_earlier_one(self):
        out, _ = self.exported("lists")
        stale = out / "rating" / "stale.npy"
        stale.write_bytes(b"old")
        _, manifest = self.exported("lists", "--as-of-test")
        self.assertEqual(manifest["known"], "train and validation")
        self.assertFalse(stale.exists())


if __name__ == "__main__":
    unittest.main()
