"""The manifests of deploy/kubernetes, rendered by `kubectl kustomize`: names, ports, arguments and paths against what the programs accept, and
the small overlay's pods run as a node would run them (pods.py), with a pod that comes back at another address. No cluster is needed; kubectl,
for the second part root, and git are. What is missing is said, and counts as skipped."""

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import yaml
from pods import Node, ip

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["MARQUEE_BIN"])
OVERLAYS = ("base", "small", "large")
IMAGE = "/opt/marquee"
DEADLINE_SECONDS = float(os.environ.get("MARQUEE_TEST_DEADLINE", "400"))

SWEEP = """
models:
  retrieval:
    kind: two_tower
    dim: 16
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: in_batch_softmax}
    optimizer: {kind: adagrad, learning_rate: 0.1}
    epochs: 3
    batch_size: 2048
sweep: {method: grid, models: [retrieval], workers_per_trial: 2}
"""


def render(folder):
    command = ["kubectl", "kustomize", SOURCE / "deploy/kubernetes" / folder]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {(entry["kind"], entry["metadata"]["name"]): entry for entry in yaml.safe_load_all(text)}


def key_secret(folder):
    """As `kubectl create secret generic marquee-keys --from-file=keys` makes it."""
    subprocess.run([BIN / "marquee", "keygen", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    command = ["kubectl", "create", "secret", "generic", "marquee-keys", f"--from-file={folder}", "--dry-run=client", "-o", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def wait_for(condition, what, seconds=DEADLINE_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Rendered:
    """An overlay, and what the cluster file in it says as `scheduler --check` reads it."""

    ROLES = {"scheduler": ("StatefulSet", "marquee-scheduler"), "ps": ("StatefulSet", "marquee-server"), "worker": ("Job", "marquee-worker")}

    def __init__(self, overlay):
        self.objects = render(overlay)
        self.config = self.objects["ConfigMap", "marquee-config"]["data"]
        self.cluster = yaml.safe_load(self.config["cluster.yaml"])["cluster"]
        with tempfile.TemporaryDirectory() as folder:
            for name, text in self.config.items():
                (pathlib.Path(folder) / name).write_text(text)
            command = [BIN / "scheduler", "--cluster", f"{folder}/cluster.yaml", "--sweep", f"{folder}/sweep.yaml", "--data", "none", "--check"]
            self.check = subprocess.run(command, capture_output=True, text=True, check=False)

    def members(self, program):
        """{name: (ports, metrics port, host)} of the program's processes."""
        lines = [line.split() for line in self.check.stdout.splitlines()]
        return {line[0]: (line[2], int(line[3]), line[4]) for line in lines if len(line) == 5 and line[1] == program}

    def workload(self, program):
        return self.objects[self.ROLES[program]]

    def pod(self, program):
        return self.workload(program)["spec"]["template"]["spec"]

    def container(self, program):
        (container,) = self.pod(program)["containers"]
        return container

    def replicas(self, program):
        spec = self.workload(program)["spec"]
        return spec["replicas"] if "replicas" in spec else spec["completions"]

    def pod_names(self, program):
        return [f"{self.ROLES[program][1]}-{i}" for i in range(self.replicas(program))]

    def service(self, program):
        spec = self.workload(program)["spec"]
        return self.objects["Service", spec.get("serviceName") or spec["template"]["spec"]["subdomain"]]


def inside(path, folder):
    return pathlib.PurePosixPath(path).is_relative_to(folder)


class ManifestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rendered = {overlay: Rendered(overlay) for overlay in OVERLAYS}

    def each(self):
        for overlay, rendered in self.rendered.items():
            for program in Rendered.ROLES:
                with self.subTest(overlay=overlay, program=program):
                    yield rendered, program

    def test_cluster_and_sweep_file_are_accepted(self):
        for overlay, rendered in self.rendered.items():
            with self.subTest(overlay):
                self.assertEqual(rendered.check.returncode, 0, rendered.check.stderr)
                self.assertIn("encrypted", rendered.check.stdout)
                self.assertIn("Sweep: 3 trials", rendered.check.stdout)

    def test_pods_are_those_of_the_cluster_file(self):
        for rendered, program in self.each():
            members = rendered.members(program)
            if program == "scheduler":  # has no name of its own
                members = {rendered.pod_names(program)[0]: members["scheduler"]}
            self.assertEqual(sorted(members), sorted(rendered.pod_names(program)))
            service = rendered.service(program)
            self.assertEqual(service["spec"]["clusterIP"], "None")
            labels = rendered.workload(program)["spec"]["template"]["metadata"]["labels"]
            self.assertLessEqual(service["spec"]["selector"].items(), labels.items())
            for name, (_, _, host) in members.items():
                self.assertEqual(host, f"{name}.{service['metadata']['name']}")

    def test_workers_are_an_indexed_job_of_all_at_once(self):
        for rendered in self.rendered.values():
            spec = rendered.workload("worker")["spec"]
            self.assertEqual((spec["completionMode"], spec["parallelism"]), ("Indexed", spec["completions"]))

    def test_ports_are_those_of_the_cluster_file(self):
        for rendered, program in self.each():
            ports = {port["name"]: port["containerPort"] for port in rendered.container(program)["ports"]}
            service = {port["name"]: port["port"] for port in rendered.service(program)["spec"]["ports"]}
            self.assertEqual(ports, service)
            for listens, metrics, _ in rendered.members(program).values():
                self.assertEqual(ports["metrics"], metrics)
                self.assertEqual(str(ports.get("requests", "-")), listens.split("-")[0] if listens != "-" else "-")

    def test_network_policies_let_through_what_is_needed(self):
        for rendered, program in self.each():
            if program == "worker":
                continue  # nobody connects to one
            policy = rendered.objects["NetworkPolicy", Rendered.ROLES[program][1]]["spec"]
            labels = rendered.workload(program)["spec"]["template"]["metadata"]["labels"]
            self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), labels.items())
            (rule,) = policy["ingress"]
            (port,) = rule["ports"]
            for listens, _, _ in rendered.members(program).values():
                first, last = (listens.split("-") * 2)[:2]
                self.assertLessEqual(port["port"], int(first))
                self.assertLessEqual(int(last), port.get("endPort", port["port"]))
            (peers,) = rule["from"]
            roles = next(entry["values"] for entry in peers["podSelector"]["matchExpressions"] if "component" in entry["key"])
            self.assertLessEqual({"server", "worker"}, set(roles))
            everybody = rendered.objects["NetworkPolicy", "marquee"]["spec"]
            self.assertLessEqual(everybody["podSelector"]["matchLabels"].items(), labels.items())
            self.assertEqual(everybody["policyTypes"], ["Ingress", "Egress"])

    def test_options_are_known_to_the_programs(self):
        for rendered, program in self.each():
            known = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=True).stdout
            for argument in rendered.container(program)["args"]:
                self.assertRegex(known, rf"(?m)^ *{re.escape(argument.split('=')[0])}\b")

    def test_paths_are_in_volumes_that_allow_what_is_done_there(self):
        for rendered, program in self.each():
            pod, mounts = rendered.pod(program), rendered.container(program)["volumeMounts"]
            claims = {entry["metadata"]["name"] for entry in rendered.workload(program)["spec"].get("volumeClaimTemplates", [])}
            self.assertLessEqual({mount["name"] for mount in mounts}, {volume["name"] for volume in pod["volumes"]} | claims)
            arguments = dict(argument.split("=", 1) for argument in rendered.container(program)["args"] if "=" in argument)
            read = [arguments[name] for name in ("--cluster", "--sweep", "--data") if name in arguments] + [rendered.cluster["keys"]]
            written = [arguments["--out"]] if program == "scheduler" else []
            if program != "worker" and "checkpoints" in rendered.cluster:
                written.append(rendered.cluster["checkpoints"]["folder"])
            for path in read:
                self.assertTrue(any(inside(path, mount["mountPath"]) for mount in mounts), path)
            for path in written:
                self.assertTrue(any(inside(path, mount["mountPath"]) and not mount.get("readOnly") for mount in mounts), path)

    def test_threads_are_those_of_the_cluster_file(self):
        for rendered in self.rendered.values():
            environment = {entry["name"]: entry.get("value") for entry in rendered.container("worker")["env"]}
            threads = str(rendered.cluster["workers"]["threads"])
            self.assertEqual((environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]), (threads, threads))

    def test_pods_may_do_no_more_than_they_must(self):
        for rendered, program in self.each():
            pod, container = rendered.pod(program), rendered.container(program)
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertFalse(pod["automountServiceAccountToken"])
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            self.assertFalse(container["securityContext"]["allowPrivilegeEscalation"])
            self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
            self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]))
            for probe in ("livenessProbe", "readinessProbe"):
                self.assertEqual(container[probe]["httpGet"]["port"], "metrics")

    def test_servers_are_kept_apart_and_go_one_at_a_time(self):
        for overlay, rendered in self.rendered.items():
            budget = rendered.objects["PodDisruptionBudget", "marquee-server"]["spec"]
            labels = rendered.workload("ps")["spec"]["template"]["metadata"]["labels"]
            self.assertEqual((budget["maxUnavailable"], budget["selector"]["matchLabels"]), (1, labels))
            rule = "required" if overlay == "large" else "preferred"
            self.assertEqual(list(rendered.pod("ps")["affinity"]["podAntiAffinity"]), [f"{rule}DuringSchedulingIgnoredDuringExecution"])

    def test_large_is_monitored_and_writes_checkpoints(self):
        large = self.rendered["large"]
        endpoint = large.objects["ServiceMonitor", "marquee"]["spec"]["endpoints"][0]
        for program in Rendered.ROLES:
            self.assertIn(endpoint["port"], [port["name"] for port in large.service(program)["spec"]["ports"]])
        self.assertIn("ReadWriteMany", large.objects["PersistentVolumeClaim", "marquee-checkpoints"]["spec"]["accessModes"])


class PodsTest(unittest.TestCase):
    """The small overlay, from an empty node to a finished sweep."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-kubernetes-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        image = self.folder / "image"
        subprocess.run(["cmake", "--install", BIN.parent, "--prefix", image], check=True, stdout=subprocess.DEVNULL)
        self.rendered = Rendered("small")
        self.objects = dict(self.rendered.objects)
        self.objects["Secret", "marquee-keys"] = key_secret(self.folder / "keys")
        self.objects["ConfigMap", "marquee-config"]["data"]["sweep.yaml"] = SWEEP
        self.node = Node(self.folder, image)
        self.addCleanup(self.node.__exit__)
        self.node.__enter__()

    def start(self, program, index=0):
        name = self.rendered.pod_names(program)[index]
        host = f"{name}.{self.rendered.service(program)['metadata']['name']}"
        annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
        return self.node.run(name, host, self.rendered.pod(program), self.objects, annotations)

    def probe(self, program, pod, probe):
        container = self.rendered.container(program)
        get = container[probe]["httpGet"]
        port = next(entry["containerPort"] for entry in container["ports"] if entry["name"] == get["port"])
        return self.node.get(pod, port, get["path"])[0]

    def metric(self, program, pod, name):
        (port,) = {port for _, port, _ in self.rendered.members(program).values()}
        _, text = self.node.get(pod, port, "/metrics")
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}\b", line)]
        return sum(values)

    def wait_for(self, condition, what, seconds=DEADLINE_SECONDS):
        try:
            return wait_for(condition, what, seconds)
        except AssertionError:
            for pod in self.node.pods:
                print(f"---- {pod.name} at {pod.address}: {pod.process.poll()}\n{pod.output()[-3000:]}", flush=True)
            raise

    def stop(self, program, pod):
        """As the kubelet does: SIGTERM, and no more time than the manifest gives. Returns the exit code as a shell says it."""
        pod.process.send_signal(signal.SIGTERM)
        pod.process.wait(self.rendered.pod(program)["terminationGracePeriodSeconds"])
        code = pod.process.returncode
        return code if code >= 0 else 128 - code

    def make_data(self):
        data = render("data")
        pod = self.node.run("marquee-data", None, data["Job", "marquee-data"]["spec"]["template"]["spec"], {**self.objects, **data})
        self.wait_for(lambda: not pod.running(), "the data set is made")
        self.assertEqual(pod.process.returncode, 0, pod.output())

    def test_a_sweep_runs_to_its_end(self):
        self.make_data()
        # In the order in which nobody finds anybody at first.
        workers = [self.start("worker", i) for i in range(2)]
        servers = [self.start("ps", i) for i in range(2)]
        scheduler = self.start("scheduler")
        everybody = [("scheduler", scheduler), *(("ps", pod) for pod in servers), *(("worker", pod) for pod in workers)]
        for program, pod in everybody:
            for probe in ("livenessProbe", "readinessProbe"):
                self.wait_for(lambda: self.probe(program, pod, probe) == 200, f"{pod.name} answers its {probe}")

        self.wait_for(lambda: self.metric("worker", workers[0], "marquee_steps_total") >= 20, "training")
        self.node.lose(servers[1])
        self.assertTrue(scheduler.running())
        servers[1] = self.start("ps", 1)  # at another address, under the same name
        self.wait_for(lambda: not any(worker.running() for worker in workers), "workers end with the sweep")
        self.assertEqual([worker.process.returncode for worker in workers], [0, 0])
        self.assertGreaterEqual(self.metric("scheduler", scheduler, "marquee_members_lost_total"), 1)

        results = self.node.claims["state-marquee-scheduler-0"] / "sweep"
        self.wait_for(lambda: (results / "report.html").exists(), "the report is written")
        trials = json.loads((results / "leaderboard.json").read_text())["trials"]
        self.assertEqual([trial["status"] for trial in trials], ["finished"])
        for program, pod in everybody[:1] + [("ps", server) for server in servers]:
            self.assertTrue(pod.running(), f"{pod.name} stays when the sweep is over")
            self.assertEqual(self.probe(program, pod, "livenessProbe"), 200)

        self.assertEqual(self.stop("ps", servers[0]), 143)
        self.assertEqual(self.stop("scheduler", scheduler), 0)
        self.node.remove(scheduler)
        again = self.start("scheduler")
        self.wait_for(lambda: "Nothing is left to do" in again.output(), "the scheduler finds its finished sweep on its volume")


def missing_for_pods():
    if os.geteuid() != 0:
        return "not root"
    name = f"marquee-{os.getpid()}-probe"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {getattr(error, 'stderr', error)}"
    return None


if __name__ == "__main__":
    if shutil.which("kubectl") is None:
        print("SKIPPED: no kubectl (Debian: kubernetes-client)", flush=True)
        sys.exit(77)
    reason = missing_for_pods()
    if reason is not None:
        print(f"SKIPPED in part, pods are not run: {reason}", flush=True)
        PodsTest = unittest.skip(reason)(PodsTest)
    unittest.main(verbosity=2)
