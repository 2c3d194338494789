"""What is wrong is refused, clearly, and harms nothing: configuration files, data files, bytes sent to ports."""

import os
import random
import re
import shutil
import socket
import subprocess
import unittest

from cluster import BIN, CLUSTER, GREETING, READY, TWO_TOWER, Cluster, make_keys, models, send_frame, training, wait_for

SHORT = models(1, TWO_TOWER) + "sweep: {method: grid, models: [two_tower]}\n"

MALFORMED = re.compile(r'marquee_rejected_total{reason="malformed"} [1-9]')
UNAUTHORIZED = re.compile(r'marquee_rejected_total{reason="unauthorized"} [1-9]')


class ConfigurationTest(unittest.TestCase):
    def refused(self, *words, cluster_text=None, sweep=SHORT, data=None):
        with Cluster(sweep, cluster_text=cluster_text, data=data) as cluster:
            code = cluster.start().wait(30)
            output = cluster.output()
            self.assertNotEqual(code, 0, output)
            self.assertLess(len(output.splitlines()), 12, output)
            for word in words:
                self.assertIn(word, output)
            self.assertFalse((cluster.out / "leaderboard.json").exists())

    def good(self, **changes):
        values = {"launcher": "local", "port": 0, "servers": 1, "shards": 1, "workers": 1}
        values.update(changes)
        return CLUSTER.format(**values)

    def test_unknown_key(self):
        self.refused("cluster.yaml:5", "partition", "partitions", cluster_text=self.good().replace("partitions:", "partition:"))

    def test_value_out_of_range(self):
        self.refused("cluster.yaml:5", "partitions", "17", "power of two", cluster_text=self.good().replace(": 16", ": 17"))

    def test_unknown_launcher(self):
        self.refused("launcher", "magic", "local", "external", cluster_text=self.good(launcher="magic"))

    def test_no_yaml(self):
        self.refused("cluster.yaml", cluster_text="cluster: [")

    def test_off_loopback_needs_security(self):
        self.refused("security", "curve", "none", cluster_text=self.good().replace("127.0.0.1", "10.9.8.7"))

    def test_unknown_model_key(self):
        self.refused("sweep.yaml", "epoch", "epochs", sweep=SHORT.replace("epochs:", "epoch:"))

    def test_unknown_parameter(self):
        self.refused("sweep.yaml", "dimm", "dim", sweep=SHORT.replace("[two_tower]}", "[two_tower], parameters: {dimm: {values: [1]}}}"))

    def test_missing_data_file(self):
        self.refused("nowhere.mq", data="nowhere.mq")

    def test_data_file_of_another_kind(self):
        self.refused("marquee.bad.mq", data=self.bad_data())

    def bad_data(self):
        path = BIN.parent / "tests" / "marquee.bad.mq"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not a data file" * 100)
        return path

    def test_feature_that_the_data_lacks_fails_the_trial_only(self):
        sweep = models(1, TWO_TOWER, TWO_TOWER.replace("two_tower:", "wrong:").replace("[movie_id]", "[movie_idd]"))
        with Cluster(sweep + "sweep: {method: grid, models: [two_tower, wrong]}\n") as cluster:
            self.assertNotEqual(cluster.start().wait(), 0)
            status = {trial["name"]: trial for trial in cluster.leaderboard()["trials"]}
            self.assertEqual(sorted(trial["status"] for trial in status.values()), ["failed", "finished"])
            self.assertIn("movie_idd", cluster.output())


class GarbageTest(unittest.TestCase):
    def test_garbage_to_every_port_harms_nothing(self):
        seed = int(os.environ.get("MARQUEE_SEED", random.randrange(1 << 32)))
        print(f"seed {seed}: MARQUEE_SEED={seed} replays it", flush=True)
        noise = random.Random(seed)
        sweep = models(6, TWO_TOWER) + "sweep: {method: grid, models: [two_tower]}\n"
        with Cluster(sweep) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            ports = {place for entry in cluster.endpoints().values() for place in [*entry["listens"], entry["metrics"]]}
            self.assertGreaterEqual(len(ports), 7)
            for port in ports:
                host, number = port.split("://")[-1].rsplit(":", 1)
                for start in (b"", GREETING, GREETING + READY):
                    with socket.create_connection((host, int(number)), timeout=5) as connection:
                        try:
                            connection.sendall(start + noise.randbytes(4096))
                        except OSError:
                            pass  # refused already
            for name in ("scheduler", "s0", "s1"):
                for endpoint in cluster.endpoints()[name]["listens"]:
                    send_frame(endpoint, b"garbage!")
                wait_for(lambda: MALFORMED.search(cluster.metrics(name) or ""), f"{name} counts what is no message", 30)
            self.assertEqual(cluster.wait(), 0)
            board = cluster.leaderboard()
            self.assertEqual(board["trials"][0]["status"], "finished")
            self.assertEqual(board["trials"][0]["examples"], 6 * board["dataset"]["train"])


class CurveTest(unittest.TestCase):
    """A cluster under CURVE, and workers that should not get in."""

    def cluster_text(self, cluster, security, keys=None):
        text = cluster.cluster_file.read_text() + f"  security: {security}\n"
        return text + (f"  keys: {keys}\n" if keys else "")

    def start_intruder(self, cluster, name, text):
        file = cluster.folder / f"{name}.yaml"
        file.write_text(text)
        scheduler = cluster.endpoints()["scheduler"]["listens"][0]
        command = [BIN / "worker", "--cluster", file, "--name", "w0", "--scheduler", scheduler, "--data", cluster.data]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_only_known_keys_get_in(self):
        sweep = models(40, TWO_TOWER) + "sweep: {method: grid, models: [two_tower]}\n"
        with Cluster(sweep) as cluster:
            foreign = make_keys(cluster.folder / "foreign")
            plain = self.cluster_text(cluster, "none")
            unknown = self.cluster_text(cluster, "curve", foreign)
            keys = make_keys(cluster.folder / "keys")
            shutil.copy(keys / "cluster.public", foreign)  # the intruder knows whom to talk to
            cluster.cluster_file.write_text(self.cluster_text(cluster, "curve", keys))
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            intruders = [self.start_intruder(cluster, "unknown", unknown), self.start_intruder(cluster, "plain", plain)]
            try:
                wait_for(lambda: UNAUTHORIZED.search(cluster.metrics("scheduler") or ""), "the unknown key is counted", 60)
            finally:
                for intruder in intruders:
                    intruder.kill()
                    intruder.wait()
            self.assertEqual(cluster.wait(), 0)
            board = cluster.leaderboard()
            self.assertEqual(board["trials"][0]["examples"], 40 * board["dataset"]["train"])
            self.assertEqual(board["trials"][0]["repeated_examples"], 0, "no worker was replaced by an intruder of its name")


class MetricsTest(unittest.TestCase):
    def refuse_worker_with_other_data(self, cluster):
        other = cluster.folder / "other.mq"
        subprocess.run([BIN / "wrangle", "--synthetic", "ml-1m", "--out", other], check=True, stdout=subprocess.DEVNULL)
        scheduler = cluster.endpoints()["scheduler"]["listens"][0]
        command = [BIN / "worker", "--cluster", cluster.cluster_file, "--name", "w1", "--scheduler", scheduler, "--data", other]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("data", refused.stderr.splitlines()[-1])

    def test_what_is_served_is_what_the_document_lists(self):
        listed = subprocess.run([BIN / "marquee", "metrics"], check=True, capture_output=True, text=True).stdout
        rows = [line for line in listed.splitlines() if line.startswith("| `marquee_") and "| `marquee serve` |" not in line]
        names = {row.split("`")[1] for row in rows}
        self.assertGreater(len(names), 20)
        sweep = models(200, TWO_TOWER) + "    table_memory_mib: 100\n" + "sweep: {method: grid, models: [two_tower], validate_every: 1}\n"
        with Cluster(sweep) as cluster:
            cluster.start()
            wait_for(lambda: training(cluster), "training")
            served = set()

            def all_served():
                for process in ("scheduler", "s0", "s1", "w0", "w1"):
                    text = cluster.metrics(process) or ""
                    served.update(line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE marquee_"))
                return names <= served or not cluster.running()

            # Some only show once their event has been: a table, an epoch, a rejected message.
            self.refuse_worker_with_other_data(cluster)
            wait_for(all_served, "all metrics are served", 60)
            self.assertEqual(names - served, set(), "in docs/metrics.md, but not served")
            self.assertEqual(served - names, set(), "served, but not in docs/metrics.md")
            cluster.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
