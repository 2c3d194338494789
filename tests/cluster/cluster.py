"""A real cluster of processes on loopback, for tests: writes its files into a temporary folder, starts the scheduler, waits for
conditions with a deadline, and leaves nothing behind. The programs are those of MARQUEE_BIN."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

BIN = pathlib.Path(os.environ["MARQUEE_BIN"])
DEADLINE_SECONDS = float(os.environ.get("MARQUEE_TEST_DEADLINE", "240"))

CLUSTER = """
cluster:
  name: test
  launcher: {launcher}
  partitions: 16
  scheduler: {{host: 127.0.0.1, port: {port}}}
  servers: {{count: {servers}, shards: {shards}}}
  workers: {{count: {workers}, threads: 1, device: cpu}}
  heartbeat_seconds: 0.5
  lease_seconds: 5
"""

TWO_TOWER = """
  two_tower:
    kind: two_tower
    dim: 16
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: in_batch_softmax, logq: true, accidental_hits: remove}
    optimizer: {kind: adagrad, learning_rate: 0.1}
    epochs: EPOCHS
    batch_size: 512
"""

RANKING = """
  ranking:
    kind: ranking
    dim: 16
    tower: {features: [user_id, movie_id], layers: [32]}
    bias: true
    loss: {kind: squared_error}
    optimizer: {kind: adagrad, learning_rate: 0.1}
    epochs: EPOCHS
    batch_size: 512
"""


def models(epochs, *bodies):
    return "models:\n" + "".join(bodies).replace("EPOCHS", str(epochs))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=DEADLINE_SECONDS):
    """Returns the first true value of `condition()`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def children_of(pid):
    """Direct children as {pid: command line}."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def is_running(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class Cluster:
    """Use as a context manager. `sweep` is the text of a sweep file."""

    def __init__(self, sweep, servers=2, shards=1, workers=2, launcher="local", port=0, data=None, cluster_text=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-test-"))
        self.out = self.folder / "out"
        self.cluster_file = self.folder / "cluster.yaml"
        text = CLUSTER.format(launcher=launcher, port=port, servers=servers, shards=shards, workers=workers)
        self.cluster_file.write_text(cluster_text or text)
        self.sweep_file = self.folder / "sweep.yaml"
        self.sweep_file.write_text(sweep)
        self.data = data or small_data()
        self.process = None
        self.seen_children = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if exception[0] is not None:
            self.print_logs()
        self.stop()
        leftovers = [pid for pid in self.seen_children if is_running(pid)]
        for pid in leftovers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)
        if exception[0] is None and leftovers:
            raise AssertionError(f"processes left behind: {[self.seen_children[pid] for pid in leftovers]}")

    def start(self, *arguments):
        command = [BIN / "scheduler", "--cluster", self.cluster_file, "--sweep", self.sweep_file, "--data", self.data, "--out", self.out]
        with open(self.folder / "scheduler.log", "a") as log:
            self.process = subprocess.Popen([str(part) for part in [*command, *arguments]], stdout=log, stderr=subprocess.STDOUT)
        return self

    def output(self):
        return (self.folder / "scheduler.log").read_text()

    def print_logs(self):
        for log in [self.folder / "scheduler.log", *sorted(self.folder.glob("out/logs/*"))]:
            if log.exists():
                print(f"---- {log.name}\n" + "\n".join(log.read_text().splitlines()[-40:]), flush=True)

    def children(self, program=""):
        """Running processes of a program ("ps", "worker") that the scheduler started: {pid: command line}."""
        found = children_of(self.process.pid)
        self.seen_children.update(found)
        return {pid: line for pid, line in found.items() if os.path.basename(line.split(" ")[0]) == program or not program}

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds=DEADLINE_SECONDS):
        """The scheduler's exit code."""

        def ended():
            self.children()
            return not self.running()

        wait_for(ended, "the scheduler ends", seconds)
        return self.process.returncode

    def kill(self):
        """kill -9 of the scheduler; its children follow it."""
        self.children()
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not any(is_running(pid) for pid in self.seen_children), "the children of a killed scheduler end", 20)

    def stop(self):
        if self.running():
            self.children()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the scheduler did not stop on SIGTERM")

    def leaderboard(self):
        return json.loads((self.out / "leaderboard.json").read_text())

    def endpoints(self):
        """What the scheduler says of its processes: {name: {"metrics": "host:port", "listens": [...]}}, or None before it does."""
        with contextlib.suppress(OSError, json.JSONDecodeError):
            return json.loads((self.out / "endpoints.json").read_text())
        return None

    def metrics(self, name):
        """The text that a process serves to Prometheus, or None while it does not."""
        entry = (self.endpoints() or {}).get(name)
        if not entry or not entry.get("metrics"):
            return None
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{entry['metrics']}/metrics", timeout=5).read().decode()
        return None

    def metric(self, name, family):
        """The sum over the samples of a metric that a process serves, or None."""
        text = self.metrics(name)
        if text is None:
            return None
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == family]
        return sum(values) if values else None


def training(cluster, steps=3):
    """Whether a worker has taken a few steps of a sweep that goes on."""
    return cluster.running() and any((cluster.metric(worker, "marquee_steps_total") or 0) >= steps for worker in ("w0", "w1"))


GREETING = bytes([0xFF] + [0] * 8 + [0x7F, 3, 0]) + b"NULL" + bytes(48)  # of ZeroMQ: ZMTP 3.0, NULL mechanism
READY = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"


def send_frame(endpoint, content):
    """As a DEALER of ZeroMQ that speaks no CURVE would send one short frame, whatever it is. Returns once it is answered."""
    host, port = endpoint.split("://")[-1].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:

        def read(count):
            data = b""
            while len(data) < count:
                part = connection.recv(count - len(data))
                assert part, f"{endpoint} hung up"
                data += part
            return data

        connection.sendall(GREETING)
        read(len(GREETING))  # libzmq hangs up on who does not wait for it
        connection.sendall(READY + bytes([0, len(content)]) + content)
        flags, length = read(2)
        assert flags == READY[0], f"{endpoint} is not ready"
        read(length)
        read(1)  # of the answer


def make_keys(folder):
    subprocess.run([BIN / "marquee", "keygen", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def small_data():
    """A small synthetic data file, made once for each build."""
    path = BIN.parent / "tests" / "small.mq"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        subprocess.run([BIN / "wrangle", "--synthetic", "small", "--out", partial], check=True, stdout=subprocess.DEVNULL)
        partial.rename(path)
    return path
