"""A trace of a real sweep with two copies and a killed server: what each side says of one request fits together."""

import collections
import json
import os
import signal
import subprocess
import unittest

from cluster import BIN, TWO_TOWER, Cluster, models, training, wait_for

CLUSTER = """
cluster:
  name: trace
  launcher: local
  partitions: 16
  replication: 2
  primary_lease_seconds: 1
  scheduler: {host: 127.0.0.1, port: 0}
  servers: {count: 3, shards: 1}
  workers: {count: 2, threads: 1, device: cpu}
  heartbeat_seconds: 0.2
  lease_seconds: 2
"""

EPOCHS = 6
SWEEP = models(EPOCHS, TWO_TOWER) + "sweep: {method: grid, models: [two_tower], workers_per_trial: 2, consistency: {mode: async}}\n"


class Trace:
    def __init__(self, file):
        self.processes = {}
        self.spans = collections.defaultdict(list)  # (process, track): [event]
        self.overlapping = collections.defaultdict(list)  # (process, name): [(begin, end)]
        self.arrows = collections.defaultdict(dict)  # id: {phase: event}
        began = {}
        events = json.loads(file.read_text())["traceEvents"]
        for event in events:
            if event["ph"] == "M" and event["name"] == "process_name":
                self.processes[event["pid"]] = event["args"]["name"]
        for event in events:
            process = self.processes[event["pid"]]
            if event["ph"] == "X":
                self.spans[process, event["tid"]].append(event)
            elif event["ph"] in "sf":
                self.arrows[event["id"]].setdefault(event["ph"], event)  # a message that is sent again arrives twice
            elif event["ph"] == "b":
                began[process, event["name"], event["id2"]["local"]] = event["ts"]
            elif event["ph"] == "e":
                begin = began.pop((process, event["name"], event["id2"]["local"]))
                self.overlapping[process, event["name"]].append((begin, event["ts"]))

    def span_at(self, end):
        """The innermost span of the arrow's end."""
        track = self.spans[self.processes[end["pid"]], end["tid"]]
        around = [span for span in track if span["ts"] <= end["ts"] <= span["ts"] + span["dur"] + 0.002]
        return min(around, key=lambda span: span["dur"], default=None)


class TraceTest(unittest.TestCase):
    def joined(self, trace):
        """Names of spans that arrows join, with how often."""
        pairs = collections.Counter()
        for ends in trace.arrows.values():
            if len(ends) < 2:
                continue
            self.assertLessEqual(ends["s"]["ts"], ends["f"]["ts"] + 0.002, "no message arrives before it is sent")
            begin, end = trace.span_at(ends["s"]), trace.span_at(ends["f"])
            pairs[begin and begin["name"], end and end["name"]] += 1
        return pairs

    def test_one_trace_of_all_processes(self):
        with Cluster(SWEEP, cluster_text=CLUSTER) as cluster:
            file = cluster.folder / "trace.json"
            cluster.start("--trace", str(file))
            wait_for(lambda: training(cluster) and cluster.metric("scheduler", "marquee_under_replicated_partitions") == 0, "training")
            victim = next(pid for pid, line in cluster.children("ps").items() if "--name s1" in line)
            os.kill(victim, signal.SIGKILL)
            self.assertEqual(cluster.wait(), 0)
            trace = Trace(file)
            self.assertEqual(set(trace.processes.values()), {"s0", "s1", "s2", "w0", "w1"})
            self.assertEqual(sorted(trace.processes.values()).count("s1"), 2, "the killed start of s1 and the one after it")

            names = collections.defaultdict(set)
            for (process, _), spans in trace.spans.items():
                names[process].update(span["name"] for span in spans)
            for worker in ("w0", "w1"):
                self.assertLessEqual({"plan", "wait", "pull", "compute", "push", "send pull", "send push"}, names[worker])
            self.assertIn("evaluate", names["w0"] | names["w1"])
            self.assertLessEqual({"pull", "apply", "apply copy"}, names["s0"])

            pairs = self.joined(trace)
            for pair in (("send pull", "pull"), ("send push", "apply"), ("apply", "apply copy"), ("pull", "receive rows")):
                self.assertGreater(pairs[pair], 10, f"{pair} in {pairs}")
            self.assertGreater(len(trace.overlapping["s0", "replicate"]), 10)
            for server in ("s0", "s2"):
                for begin, end in trace.overlapping[server, "replicate"]:
                    self.assertLessEqual(begin, end)

            # Each push that was applied belongs to a step that was computed.
            steps = sum(span["name"] == "compute" for spans in trace.spans.values() for span in spans)
            self.assertGreater(steps, 0)
            self.assertEqual(steps, sum(span["name"] == "push" for spans in trace.spans.values() for span in spans))

            # The program makes the same of the processes' files, and prints what a person looks for first.
            again = cluster.folder / "again.json"
            text = subprocess.run(
                [BIN / "marquee", "trace", cluster.out / "trace", "--out", again], check=True, capture_output=True, text=True
            ).stdout
            self.assertEqual(json.loads(again.read_text()), json.loads(file.read_text()))
            for word in ("compute", "replicate", "pull request", "messages seen by both sides"):
                self.assertIn(word, text)
                self.assertIn(word, cluster.output())

    def test_a_folder_without_traces_is_refused(self):
        with Cluster(SWEEP, cluster_text=CLUSTER) as cluster:
            done = subprocess.run([BIN / "marquee", "trace", cluster.folder, "--out", cluster.folder / "t.json"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(cluster.folder), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
