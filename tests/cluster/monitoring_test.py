"""A real Prometheus on a training cluster. Time runs 20 times as fast as in deploy/prometheus: all windows and intervals there are made
shorter by that, and nothing else is changed. First every query of every panel and rule is run: none may fail, or be empty unless
its event has not come. Then the events come, one after the other, by real faults, and each alert must fire."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

from cluster import BIN, RANKING, Cluster, models, send_frame, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "monitoring"))
import monitoring  # noqa: E402: lies beside this folder

SPEED = 20
NAMES = ("s0", "s1", "w0", "w1")

CLUSTER = """
cluster:
  name: watched
  launcher: local
  partitions: 16
  replication: 2
  primary_lease_seconds: 0.5
  scheduler: {{host: 127.0.0.1, port: 0, metrics_port: {ports[0]}}}
  servers:
    - {{name: s0, metrics_port: {ports[1]}}}
    - {{name: s1, metrics_port: {ports[2]}}}
  workers:
    - {{name: w0, metrics_port: {ports[3]}, device: cpu}}
    - {{name: w1, metrics_port: {ports[4]}, device: cpu}}
  heartbeat_seconds: 0.2
  lease_seconds: 3
  checkpoints: {{every_seconds: 2, keep: 1, full_every: 1, folder: {checkpoints}}}
"""

# One trial that goes on, one that diverges at once, and one whose tables fill most of what they may have.
STEADY = RANKING.replace("ranking:", "steady:", 1)
DIVERGES = RANKING.replace("ranking:", "diverges:", 1).replace("learning_rate: 0.1", "learning_rate: 1000").replace("adagrad", "sgd")
BOUNDED = RANKING.replace("ranking:", "bounded:", 1) + "    table_memory_mib: BUDGET\n"
SWEEP = "sweep: {{method: grid, models: [{names}], workers_per_trial: 1, consistency: {{mode: async}}, chunk_batches: 2, validate_every: 1}}\n"

# What a cluster in health has no answer to, by dashboard and panel, and the alert whose event fills it.
FILLED_BY = {
    ("marquee-overview", "Alerts"): "MarqueeServerLost",
    ("marquee-failures", "Messages refused"): "MarqueeMessagesRejected",
    **{(f"marquee-{name}", ""): "MarqueeServerLost" for name in ("overview", "servers", "workers", "trials", "failures")},
}

# Not caused here, since only a bug, or a machine without memory, would: tests/monitoring/alerts.yml alone makes them fire.
NOT_CAUSED = {"MarqueeStalenessViolation", "MarqueeMemoryNearLimit"}


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def faster(text):
    """Durations of windows, waits and intervals, shortened."""

    def shorter(match):
        seconds = int(match.group(2)) * {"s": 1, "m": 60, "h": 3600}[match.group(3)]
        return f"{match.group(1)}{round(1000 * seconds / SPEED)}ms"

    return re.sub(r"(\[|for: |interval: |offset )(\d+)([smh])\b", shorter, text)


class Prometheus:
    """With the configuration of deploy/prometheus, of a cluster."""

    def __init__(self, cluster):
        self.folder = cluster.folder / "prometheus"
        shutil.copytree(monitoring.PROMETHEUS, self.folder, ignore=shutil.ignore_patterns("targets"))
        for path in [self.folder / "prometheus.yml", *self.folder.glob("rules/*.yml")]:
            path.write_text(faster(path.read_text()))
        (self.folder / "targets").mkdir()
        targets = subprocess.run([BIN / "marquee", "targets", "--cluster", cluster.cluster_file], check=True, capture_output=True, text=True)
        (self.folder / "targets/watched.json").write_text(targets.stdout)
        self.address = f"127.0.0.1:{free_ports(1)[0]}"

    def __enter__(self):
        command = ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--web.listen-address={self.address}"]
        command += [f"--storage.tsdb.path={self.folder}/data", "--log.level=warn"]
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: self.ready() or self.process.poll() is not None, "Prometheus is ready", 60)
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(30)
        if exception[0] is not None:
            print((self.folder / "log").read_text(), flush=True)

    def ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5).status == 200
        return False

    def get(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer = json.load(urllib.request.urlopen(url, timeout=30))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr):
        return self.get("query", query=expr)["result"]

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self):
        """{alert: its first instance} of those that fire."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    def fired(self):
        """Names of alerts that fire or have fired."""
        return {sample["metric"]["alertname"] for sample in self.query('last_over_time(ALERTS{alertstate="firing"}[1h])')}


def table_bytes():
    """The largest size in a shard that a table of the model has at its end."""
    sweep = models(3, STEADY) + SWEEP.format(names="steady")
    with Cluster(sweep) as cluster:
        cluster.cluster_file.write_text(CLUSTER.format(ports=free_ports(5), checkpoints=cluster.folder / "checkpoints"))
        cluster.start()
        largest = 0

        def ended():
            nonlocal largest
            for server in ("s0", "s1"):
                for line in (cluster.metrics(server) or "").splitlines():
                    if line.startswith("marquee_table_bytes{"):
                        largest = max(largest, float(line.rsplit(" ", 1)[1]))
            return not cluster.running()

        wait_for(ended, "a short sweep")
        return largest


class MonitoringTest(unittest.TestCase):
    def test_every_query_answers_and_every_alert_fires(self):
        budget = 1.03 * table_bytes() / (1 << 20)
        self.assertGreater(budget, 0)
        sweep = models(100000, STEADY, DIVERGES, BOUNDED).replace("BUDGET", f"{budget:.4f}")
        with Cluster(sweep + SWEEP.format(names="steady, diverges, bounded")) as self.cluster:
            with self.disk(self.cluster.folder / "disk") as disk:
                text = CLUSTER.format(ports=free_ports(5), checkpoints=disk / "checkpoints")
                self.cluster.cluster_file.write_text(text)
                self.cluster.start()
                try:
                    with Prometheus(self.cluster) as self.prometheus:
                        self.check_queries_of_a_cluster_in_health()
                        self.fired = set()
                        self.cause_alerts(disk)
                        self.check_queries_that_waited_for_their_event()
                finally:
                    self.cluster.stop()

    # ------------------------------------------------------------------------------------------------- queries

    def empty_queries(self):
        return {query for query in monitoring.queries() if not self.answer(query)}

    def answer(self, query):
        return self.prometheus.query(faster(query.filled("watched")))

    def check_queries_of_a_cluster_in_health(self):
        expected = {query for query in monitoring.queries() if (query.dashboard, query.panel) in FILLED_BY}
        self.assertEqual({(query.dashboard, query.panel) for query in expected}, set(FILLED_BY), "panels that are not there")

        def all_answer():
            self.assertTrue(self.cluster.running(), "the sweep has ended")
            return self.empty_queries() <= expected

        try:
            wait_for(all_answer, "every query has an answer", 90)
        except AssertionError as error:
            raise AssertionError(f"no answer: {[str(query) for query in self.empty_queries() - expected]}") from error
        wait_for(lambda: all(rule["health"] != "unknown" for rule in self.prometheus.rules()), "every rule has been evaluated", 30)
        for rule in self.prometheus.rules():
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])
            if rule["type"] == "recording":
                self.assertTrue(self.prometheus.query(rule["name"]), rule["name"])
        self.assertLessEqual(set(self.prometheus.firing()), {"MarqueeNotFinite", "MarqueeTrialsFailed", "MarqueeTableNearBudget"})
        # What alerts compare is there: an alert on a series that does not exist would never fire.
        for rule in monitoring.alerts():
            for metric, _ in monitoring.selectors(rule["expr"]):
                self.assertTrue(self.prometheus.query(metric), f"{rule['alert']}: {metric}")
        up = {sample["metric"]["name"]: sample["value"][1] for sample in self.prometheus.query("up")}
        self.assertEqual(up, {name: "1" for name in ("scheduler", *NAMES)})

    def check_queries_that_waited_for_their_event(self):
        for query in monitoring.queries():
            alert = FILLED_BY.get((query.dashboard, query.panel))
            if alert is not None:
                self.assertIn(alert, self.fired)
                seen = self.prometheus.get("query", query=f"count_over_time(({faster(query.filled('watched'))})[5m:1s])")["result"]
                self.assertTrue(seen, query)

    # -------------------------------------------------------------------------------------------------- faults

    def cause_alerts(self, disk):
        self.fires("MarqueeTrialsFailed", "MarqueeTableNearBudget")
        self.assertIn("MarqueeNotFinite", self.prometheus.fired())
        self.fired.add("MarqueeNotFinite")
        send_frame(self.cluster.endpoints()["s0"]["listens"][0], b"garbage!")
        self.fires("MarqueeMessagesRejected")
        self.kill_server("s0")
        self.fires("MarqueeServerLost")
        with self.stopped("s1"):
            self.fires("MarqueeServersMissing", "MarqueeUnderReplicated", "MarqueeTargetDown")
        self.settles()
        with self.full(disk):
            self.fires("MarqueeCheckpointsFail", "MarqueeCheckpointTooOld")
        with self.stopped("scheduler"):
            self.fires("MarqueeWorkerStalled", "MarqueeSchedulerGone")
        self.settles()
        with self.stopped("w0", "w1"):
            self.fires("MarqueeWorkersMissing", "MarqueeSweepStuck")
        self.assertEqual({rule["alert"] for rule in monitoring.alerts()} - self.fired, NOT_CAUSED)

    def fires(self, *names):
        missing = set(names)

        def all_fire():
            self.assertTrue(self.cluster.running(), "the sweep has ended")
            firing = self.prometheus.firing()
            for name in missing & set(firing):
                print(f"fires: {name}: {firing[name]['annotations']['summary']}", flush=True)
                missing.discard(name)
            return not missing

        try:
            wait_for(all_fire, f"{names} fire", 150)
        except AssertionError as error:
            raise AssertionError(f"do not fire: {missing}; {self.prometheus.firing().keys()} do") from error
        self.fired |= set(names)

    def settles(self):
        """All processes are back and train."""

        def well():
            missing = self.prometheus.query("cluster_role:marquee_targets:count - on (cluster, role) marquee_members > 0")
            down = self.prometheus.query("up == 0 or marquee_under_replicated_partitions > 0")
            return not missing and not down and self.prometheus.query(faster("rate(marquee_trained_examples_total[1m]) > 0"))

        wait_for(well, "all processes train again", 120)

    def process(self, name):
        if name == "scheduler":
            return self.cluster.process.pid
        return wait_for(lambda: next((pid for pid, line in self.cluster.children().items() if f"--name {name} " in line), None), name)

    def kill_server(self, name):
        os.kill(self.process(name), signal.SIGKILL)

    @contextlib.contextmanager
    def stopped(self, *names):
        pids = [self.process(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def disk(self, folder):
        """A small one of its own, where one can be mounted."""
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        self.mounted = subprocess.run(mount, capture_output=True).returncode == 0
        if not self.mounted:
            print("no tmpfs can be mounted: a folder without permission stands for the full disk", flush=True)
        try:
            yield folder
        finally:
            if self.mounted:
                subprocess.run(["umount", folder], check=True)

    @contextlib.contextmanager
    def full(self, disk):
        if not self.mounted:
            (disk / "checkpoints").chmod(0o500)
            yield
            (disk / "checkpoints").chmod(0o700)
            return
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        yield
        filler.unlink()


if __name__ == "__main__":
    if shutil.which("prometheus") is None:
        print("SKIPPED: no prometheus is installed (tools/setup --tests)")
        sys.exit(77)
    unittest.main(verbosity=2)
