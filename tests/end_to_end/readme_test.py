"""Runs every command of README.md, in its order, as a newcomer would. Raw data comes from MARQUEE_DATA (made up here where it is absent, saying
so), results go to a temporary folder, long sweeps are replaced by the demo's; a command that this test does not know fails it, so
that the page cannot drift from what works."""

import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["MARQUEE_BIN"])
DATA = pathlib.Path(os.environ.get("MARQUEE_DATA") or SOURCE / "../shared/data")

CLUSTER = """
cluster:
  launcher: external
  security: none
  scheduler: {{host: 127.0.0.1, port: {port}}}
  servers: [{{name: s0, host: 127.0.0.1}}]
  workers: [{{name: w0, host: 127.0.0.1, device: cpu}}]
"""

SWEEP = """
models:
  small:
    kind: two_tower
    dim: 8
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    optimizer: {kind: adagrad, learning_rate: 0.1}
    epochs: 1
    batch_size: 8192
sweep: {method: grid, models: [small]}
"""

RATINGS = "".join(f"{user}::{movie}::{1 + (user * movie) % 5}::{956703932 + user}\n" for user in range(1, 51) for movie in range(1, 31))
USERS = "".join(f"{user}::F::25::12::5512{user % 10}\n" for user in range(1, 51))
MOVIES = "".join(f"{movie}::Film {movie} (1999)::Comedy|Drama\n" for movie in range(1, 31))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def readme_commands():
    blocks = re.findall(r"```sh\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    inline = re.findall(r"`(build/release/bin/marquee keygen[^`]*)`", (SOURCE / "README.md").read_text())
    return [line for block in blocks for line in block.splitlines() if line.strip()] + inline


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "build").mkdir()
        (self.folder / "build" / "release").symlink_to(BIN.parent)
        (self.folder / "deploy").symlink_to(SOURCE / "deploy")
        self.raw_data()
        (self.folder / "cluster.yaml").write_text(CLUSTER.format(port=free_port()))
        (self.folder / "sweep.yaml").write_text(SWEEP)
        self.members = []

    def raw_data(self):
        movies = DATA / "the-movies-dataset"
        if (DATA / "ml-1m" / "ratings.dat").exists() and movies.exists():
            (self.folder / "ml-1m").symlink_to(DATA / "ml-1m")
            for name in ("links.csv", "movies_metadata.csv", "credits.csv"):
                (self.folder / name).symlink_to(movies / name)
            return
        print(f"no real MovieLens under {DATA} (MARQUEE_DATA): using a made-up one", flush=True)
        (self.folder / "ml-1m").mkdir()
        for name, text in (("ratings.dat", RATINGS), ("users.dat", USERS), ("movies.dat", MOVIES)):
            (self.folder / "ml-1m" / name).write_text(text)
        (self.folder / "links.csv").write_text("movieId,imdbId,tmdbId\n1,1,1\n")
        columns = "adult,budget,genres,homepage,id,imdb_id,original_title,release_date,title\n"
        (self.folder / "movies_metadata.csv").write_text(columns + "False,0,[],,1,tt1,Film 1,1999-01-01,Film 1\n")
        (self.folder / "credits.csv").write_text("cast,crew,id\n[],[],1\n")

    def run_here(self, command, cwd=None):
        done = subprocess.run(command, shell=True, cwd=cwd or self.folder, capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self, command):
        process = subprocess.Popen(command, shell=True, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.members.append((command, process))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)

    def serve(self, command):
        process = subprocess.Popen("exec " + command, shell=True, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        address = process.stdout.readline().removeprefix("Movies: ").strip()
        deadline = time.monotonic() + 120
        while True:
            self.assertIsNone(process.poll(), "it has ended")
            self.assertLess(time.monotonic(), deadline, "it is never ready")
            try:
                urllib.request.urlopen(address + "readyz", timeout=10).close()
                break
            except urllib.error.HTTPError as error:
                self.assertEqual(error.code, 503)
        with urllib.request.urlopen(address + "api/users/42/recommendations", timeout=10) as answer:
            self.assertEqual(len(json.load(answer)["movies"]), 10)
        process.terminate()
        self.assertEqual(process.wait(60), 143)

    def test_every_command_works(self):
        for command in readme_commands():
            with self.subTest(command):
                if command == "./demo":
                    self.assertIn("leaderboard.json", self.run_here(command, cwd=SOURCE))
                elif command == "./test":
                    pass  # this very test is part of it
                elif "bin/marquee serve" in command:
                    self.serve(command + " --port 0")
                elif "wrangle" in command or "bin/marquee" in command:
                    self.run_here(command)
                elif "--sweep deploy/sweeps/retrieval.yaml" in command:
                    self.run_here(command.replace("deploy/sweeps/retrieval.yaml", "sweep.yaml"))
                elif "--cluster cluster.yaml" in command:
                    self.start("exec " + command)
                else:
                    self.fail("README.md has a command that this test does not run")
        self.assertEqual(len(self.members), 3)
        for command, process in self.members:
            output, _ = process.communicate(timeout=300)
            self.assertEqual(process.returncode, 0, f"{command}\n{output[-2000:]}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
