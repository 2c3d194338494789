"""What `cmake --install` leaves is whole: programs run from there and find one another, exit codes are as documented, bash completes their
options, systemd accepts the units, and the Dockerfile names only what there is."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["MARQUEE_BIN"])
DOCKERFILE = SOURCE / "deploy" / "Dockerfile"
UNITS = sorted((SOURCE / "deploy" / "systemd").glob("*.service"))
IN_BIN, IN_LIBEXEC = ("scheduler", "wrangle", "marquee"), ("ps", "worker")
DEADLINE_SECONDS = float(os.environ.get("MARQUEE_TEST_DEADLINE", "240"))
PREFIX = "/opt/marquee"

CLUSTER = """
cluster:
  launcher: {launcher}
  partitions: 4
  scheduler: {{host: 127.0.0.1, port: {port}}}
  servers: {{count: 1}}
  workers: {{count: 1, device: cpu}}
"""
SWEEP = """
models:
  small:
    kind: two_tower
    dim: 8
    query: {{features: [user_id]}}
    candidate: {{features: [movie_id]}}
    optimizer: {{kind: adagrad, learning_rate: 0.1}}
    epochs: {epochs}
    batch_size: 512
sweep: {{method: grid, models: [small]}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=DEADLINE_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def exit_code(process):
    """As a shell says it."""
    process.wait(DEADLINE_SECONDS)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.prefix = cls.folder / "prefix"
        subprocess.run(["cmake", "--install", BIN.parent, "--prefix", cls.prefix], check=True, stdout=subprocess.DEVNULL)
        cls.data = cls.folder / "data.mq"
        cls.check(cls.prefix / "bin" / "wrangle", "--synthetic", "small", "--out", cls.data)

    @staticmethod
    def check(*command):
        """Output of a command that ends well, run without any environment."""
        done = subprocess.run([str(part) for part in command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def programs(self):
        return [self.prefix / "bin" / name for name in IN_BIN] + [self.prefix / "libexec" / "marquee" / name for name in IN_LIBEXEC]

    def files(self, launcher="local", port=0, epochs=1):
        (self.folder / "cluster.yaml").write_text(CLUSTER.format(launcher=launcher, port=port))
        (self.folder / "sweep.yaml").write_text(SWEEP.format(epochs=epochs))

    def start(self, program, *arguments):
        command = [program, "--cluster", self.folder / "cluster.yaml", *arguments]
        log = self.folder / "log"
        with open(log, "w") as output:
            process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, log

    def scheduler(self, out, *arguments):
        files = ["--sweep", self.folder / "sweep.yaml", "--data", self.data, "--out", self.folder / out]
        return self.start(self.prefix / "bin" / "scheduler", *files, *arguments)

    def member(self, program, *arguments):
        return self.start(self.prefix / "libexec" / "marquee" / program, *arguments)

    def test_programs_say_their_versions(self):
        version = re.search(r"project\(marquee VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())[1]
        schema = (SOURCE / "schemas" / "wire.capnp").read_text()
        wire = " to ".join(re.findall(r"const (?:oldestP|p)rotocolVersion :UInt16 = (\d+)", schema))
        for program in self.programs():
            text = self.check(program, "--version")
            self.assertTrue(text.startswith(f"{program.name} (marquee) {version}\nwire protocol {wire}, checkpoints "), text)

    def test_ps_does_not_hide_the_systems_own(self):
        self.assertEqual(sorted(path.name for path in (self.prefix / "bin").iterdir()), sorted(IN_BIN))

    def test_help_teaches(self):
        for program in self.programs():
            text = self.check(program, "--help")
            self.assertRegex(text, rf"(?m)^ +{program.name} \S", "an example")
            self.assertRegex(text, r"docs/\w+\.md", "where to read on")
            for page in re.findall(r"docs/\w+\.md", text):
                self.assertTrue((SOURCE / page).exists(), page)

    def test_a_sweep_runs_from_there_is_stopped_and_goes_on(self):
        self.files(epochs=100000)
        process, log = self.scheduler("sweep")
        wait_for(lambda: re.search(r"epoch|examples/s", log.read_text()) or process.poll() is not None, "training begins")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(exit_code(process), 143, log.read_text())
        self.assertIn("go on with --resume", log.read_text())
        self.files(epochs=1)
        process, log = self.scheduler("sweep-2")
        self.assertEqual(exit_code(process), 0, log.read_text())
        process, log = self.scheduler("sweep-2", "--resume")
        self.assertEqual(exit_code(process), 0, log.read_text())
        self.assertIn("Nothing is left to do", log.read_text())

    def test_members_without_a_scheduler(self):
        self.files("external", free_port())
        for program, arguments in (("ps", ["--name", "s0"]), ("worker", ["--name", "w0", "--data", self.data])):
            with self.subTest(program):
                process, log = self.member(program, *arguments)
                wait_for(lambda: "starts" in log.read_text(), f"{program} is up")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(exit_code(process), 143, log.read_text())
                process, log = self.member(program, *arguments, "--orphan-seconds", "0.5")
                self.assertEqual(exit_code(process), 1, log.read_text())
                process, log = self.member(program, "--name", "nobody", "--data", self.data)
                self.assertEqual(exit_code(process), 2 if program == "ps" else 1, log.read_text())

    def test_wrong_command_lines_end_with_2_and_wrong_files_with_1(self):
        for program in self.programs():
            for arguments in (["--no-such-option"], []):
                done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 2, f"{program} {arguments}: {done.stderr}")
        for program in ("bin/scheduler", "libexec/marquee/ps", "libexec/marquee/worker"):
            name = [] if "scheduler" in program else ["--name", "x"]
            done = subprocess.run([self.prefix / program, "--cluster", "no-such-file", *name], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, "no-such-file" in done.stderr), (1, True), done.stderr)

    def complete(self, program, *words):
        script = self.prefix / "share" / "bash-completion" / "completions" / program
        line = " ".join(f"'{word}'" for word in [program, *words])
        commands = f"source '{script}'; complete -p {program}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _marquee_{program}"
        commands += '; printf "%s\\n" "${COMPREPLY[@]}"'
        return self.check("bash", "-euo", "pipefail", "-c", commands).splitlines()[1:]

    def test_bash_completes(self):
        for program in IN_BIN:
            options = re.findall(r"(?m)^ +(?:-\w,)?(--[\w-]+)", self.check(self.prefix / "bin" / program, "--help"))
            self.assertGreater(len(options), 2)
            self.assertEqual(sorted(self.complete(program, "--")), sorted({"--help", *options}))
        self.assertEqual(self.complete("scheduler", "--re"), ["--resume"])
        self.assertEqual(self.complete("marquee", "check"), ["checkpoint"])
        self.assertEqual(self.complete("marquee", "checkpoint", ""), ["list", "verify"])
        self.assertIn("--unseen", self.complete("marquee", "recommend", "--"))
        self.assertNotIn("--unseen", self.complete("marquee", "export", "--"))
        (self.folder / "file-one").touch()
        self.assertEqual(self.complete("scheduler", "--cluster", f"{self.folder}/file-o"), [f"{self.folder}/file-one"])

    @unittest.skipIf(shutil.which("systemd-analyze") is None, "SKIPPED: no systemd-analyze (Debian: systemd)")
    def test_systemd_accepts_the_units(self):
        self.assertEqual(len(UNITS), 3)
        for unit in UNITS:
            text = unit.read_text()
            (command,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
            program, *arguments = command.split()
            known = self.check(program.replace(PREFIX, str(self.prefix)), "--help")
            for argument in arguments:
                self.assertRegex(known, rf"(?m)^ *{argument.split('=')[0]}\b")
            # An instance, and where the programs are here: systemd looks whether they can be run.
            here = self.folder / unit.name.replace("@.", "@one.")
            here.write_text(text.replace(PREFIX, str(self.prefix)))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            # Of 100, where 100 may do everything.
            self.check("systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", here)

    def test_dockerfile_names_what_there_is(self):
        text = DOCKERFILE.read_text().replace("\\\n", " ")
        steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
        copied = [source for verb, rest in steps if verb == "COPY" and "--from" not in rest for source in rest.split()[:-1]]
        self.assertIn("tools/setup", copied)
        for source in copied:
            self.assertTrue((SOURCE / source).exists(), source)
        runs = [rest for verb, rest in steps if verb == "RUN"]
        for script in re.findall(r"(?:^|\s)(tools/\S+)", "\n".join(runs)):
            self.assertTrue(os.access(SOURCE / script, os.X_OK), script)
        (built,) = re.findall(r"tools/build release (.*)", "\n".join(runs))
        self.assertEqual(sorted(built.split()), sorted(IN_BIN + IN_LIBEXEC))
        for path in re.findall(rf"{PREFIX}(/\S*?)[\",:\s]", DOCKERFILE.read_text()):
            if path != "/share/marquee/runtime-packages.txt":  # made there
                self.assertTrue((self.prefix / path.strip("/")).exists(), path)
        self.assertRegex(text, r"\nUSER 10001:10001\n")

    def test_packages_that_the_image_installs(self):
        packages = self.check(SOURCE / "tools" / "runtime-packages", self.prefix).split()
        for package in ("libc6", "libtorch1.13", "libzmq5", "libopenblas0-pthread"):
            self.assertIn(package, packages)
        self.assertFalse([package for package in packages if package.endswith("-dev")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
