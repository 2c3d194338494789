#!/usr/bin/env python3
"""Real servers, workers and a scheduler, each in a network namespace of its own, with two copies of each row and with keys, under
random faults: kill -9 (of the scheduler too), SIGSTOP, links down, blackhole routes, and a relay that delays, stalls and cuts TCP connections. A fourth server comes
and goes by edits of the cluster file, so that partitions are moved in the middle of it all. Workers keep a ledger of what they pushed and what was acknowledged (push_ledger.h); at the end every row is compared with it, and again after each
server was killed in turn, so that second copies are judged as well.

    bin/campaign --minutes 5 --seed 1 [--json]

Needs root, for the namespaces. Exits with 0 if nothing was lost or doubled, no process crashed by itself, and training went on at the end; with 77 where there are no
namespaces. Faults that may cost a server's copies are injected one at a time, as soon as every partition has two copies again: that is
the limit of the promise (docs/guarantees.md). All chance comes from the seed; real processes make their own as well."""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = pathlib.Path(os.environ.get("MARQUEE_BIN", pathlib.Path(__file__).resolve().parent))
NET = "10.77.32"
SERVERS, WORKERS, SHARDS = 3, 3, 2
GUEST = f"s{SERVERS}"  # the server that comes and goes
SERVER_PORT, RELAY_PORT = 7710, 17710
LEASE, PRIMARY_LEASE = 2.0, 1.0
HEALTHY_WITHIN = 60  # seconds after a fault has ended
SEEN_WITHIN = LEASE + 1.5  # a loss is seen when a lease has run out, and shown with the next second's metrics

CLUSTER = """
cluster:
  name: campaign
  launcher: external
  security: {security}
  partitions: 16
  replication: {copies}
  primary_lease_seconds: {primary_lease}
  heartbeat_seconds: 0.25
  lease_seconds: {lease}
  scheduler: {{host: {net}.1, port: 7700, metrics_port: 9700}}
  servers:
{servers}
  workers:
{workers}
"""

SWEEP = """
models:
  pushes:
    kind: two_tower
    dim: 8
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: in_batch_softmax}
    optimizer: {kind: sgd, learning_rate: 1}
    epochs: 1000
    batch_size: 16
sweep: {method: grid, models: [pushes], workers_per_trial: WORKERS, consistency: {mode: async}}
"""


def ip(*arguments, check=True):
    return subprocess.run(["ip", *map(str, arguments)], check=check, capture_output=True)


class Relay:
    """Forwards each server's ports to itself, inside its namespace: connections from outside are turned to it. Runs in a process of
    its own, and takes commands on its standard input: pass, delay SECONDS, stall, cut."""

    def __init__(self, address, ports):
        self.address = address
        self.ports = ports
        self.delay = 0.0
        self.flowing = asyncio.Event()
        self.writers = set()

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(1 << 18):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(self, port, reader, writer):
        try:
            there_reader, there_writer = await asyncio.open_connection(self.address, port)
        except OSError:
            writer.close()
            return
        pair = {writer, there_writer}
        self.writers |= pair
        await asyncio.gather(self.pump(reader, there_writer), self.pump(there_reader, writer))
        self.writers -= pair

    async def run(self):
        self.flowing.set()
        for port in self.ports:
            await asyncio.start_server(lambda r, w, port=port: self.accept(port, r, w), "0.0.0.0", port + RELAY_PORT - SERVER_PORT)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        print("ready", flush=True)
        while line := (await commands.readline()).decode().split():
            self.delay = float(line[1]) if line[0] == "delay" else 0.0
            self.flowing.clear() if line[0] == "stall" else self.flowing.set()
            if line[0] == "cut":
                for writer in list(self.writers):
                    writer.transport.abort()


class Host:
    """A network namespace on the bridge, with the processes in it."""

    def __init__(self, prefix, switch, index):
        self.name = f"{prefix}-{index}"
        self.switch = switch
        self.port = f"port{index}"
        self.address = f"{NET}.{index}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "eth0", "type", "veth", "peer", "name", self.port, "netns", switch)
        ip("-n", switch, "link", "set", self.port, "master", "bridge", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def link(self, state):
        ip("-n", self.switch, "link", "set", self.port, state)

    def blackhole(self, other, action):
        ip("-n", self.name, "route", action, "blackhole", f"{other.address}/32", check=action == "add")


class Member:
    """A process that is started again when it ends, as a supervisor does."""

    def __init__(self, name, host, command, log):
        self.name, self.host, self.command, self.log = name, host, command, log
        self.process = None
        self.start_at = 0.0
        self.expected = False  # it was killed by us
        self.ended = []        # exit codes that nobody asked for

    def poll(self, now):
        if self.process is not None and self.process.poll() is not None:
            if not self.expected:
                self.ended.append(self.process.returncode)
            self.process = None
            self.start_at = max(self.start_at, now + 0.2)
        if self.process is None and now >= self.start_at:
            self.expected = False
            with open(self.log, "a") as log:
                self.process = subprocess.Popen(self.host.command(*self.command), stdout=log, stderr=log)

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self, down):
        self.expected = True
        self.start_at = time.monotonic() + down
        self.signal(signal.SIGKILL)


class Campaign:
    def __init__(self, arguments):
        self.random = random.Random(arguments.seed)
        self.minutes = arguments.minutes
        self.json = arguments.json
        self.plain = arguments.plain
        self.copies = arguments.copies
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="marquee-campaign-"))
        self.prefix = f"mqc-{os.getpid()}"
        self.switch = f"{self.prefix}-0"
        self.members = {}
        self.guest = False  # whether the guest is in the cluster file
        self.relays = {}
        self.faults = []  # (kind, began, ended, who)
        self.heals = []   # (when, what to undo)

    # ------------------------------------------------------------------------------------------------------ set-up

    def say(self, text):
        if not self.json:
            print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def __enter__(self):
        self.began = time.monotonic()
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self):
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        names = ["scheduler", *(f"s{i}" for i in range(SERVERS)), *(f"w{i}" for i in range(WORKERS)), GUEST]
        self.hosts = {name: Host(self.prefix, self.switch, i) for i, name in enumerate(names, start=1)}
        if not self.plain:
            subprocess.run([BIN / "marquee", "keygen", "--out", self.folder / "keys"], check=True, stdout=subprocess.DEVNULL)
        self.cluster = self.folder / "cluster.yaml"
        self.write_cluster()
        sweep = self.folder / "sweep.yaml"
        sweep.write_text(SWEEP.replace("WORKERS", str(WORKERS)))
        data = self.folder / "small.mq"
        subprocess.run([BIN / "wrangle", "--synthetic", "small", "--out", data], check=True, stdout=subprocess.DEVNULL)
        self.data = data
        commands = {"scheduler": [BIN / "scheduler", "--cluster", self.cluster, "--sweep", sweep, "--data", data, "--out", self.folder / "out", "--resume"]}
        for i in range(WORKERS):
            commands[f"w{i}"] = [BIN / "campaign_worker", "--cluster", self.cluster, "--name", f"w{i}", "--data", data,
                                 "--ledger", self.folder / f"w{i}.ledger"]
        for name, command in commands.items():
            self.members[name] = Member(name, self.hosts[name], command, self.folder / f"{name}.log")
        for name in self.servers():
            self.members[name] = self.server(name)
        for name in [*self.servers(), GUEST]:
            self.start_relay(name)

    def servers(self):
        return [f"s{i}" for i in range(SERVERS)] + ([GUEST] if self.guest else [])

    def server(self, name):
        command = [BIN / "ps", "--cluster", self.cluster, "--name", name, "--orphan-seconds", 600]
        return Member(name, self.hosts[name], command, self.folder / f"{name}.log")

    def write_cluster(self):
        servers = "\n".join(f"    - {{name: {name}, host: {self.hosts[name].address}, port: {SERVER_PORT}, shards: {SHARDS}}}"
                            for name in self.servers())
        workers = "\n".join(
            f"    - {{name: w{i}, host: {self.hosts[f'w{i}'].address}, threads: 1, device: cpu}}" for i in range(WORKERS))
        text = CLUSTER.format(net=NET, servers=servers, workers=workers, lease=LEASE, primary_lease=PRIMARY_LEASE, copies=self.copies,
                              security="none" if self.plain else "curve")
        if not self.plain:
            text += "  keys: keys\n"
        draft = self.folder / "draft.yaml"
        draft.write_text(text)
        draft.rename(self.cluster)

    def start_relay(self, name):
        host = self.hosts[name]
        ports = [SERVER_PORT + shard for shard in range(SHARDS)]
        relay = subprocess.Popen(host.command(sys.executable, __file__, "--relay", host.address, *ports), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.relays[name] = relay
        if relay.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the relay of {name} does not start")
        # What the relay passes on comes from inside, to which the rule does not apply.
        rules = "table ip nat {\n chain in { type nat hook prerouting priority -100;\n"
        rules += "".join(f"  iifname eth0 tcp dport {port} redirect to :{port + RELAY_PORT - SERVER_PORT}\n" for port in ports)
        rules += " }\n}\n"
        subprocess.run(host.command("nft", "-f", "-"), input=rules, text=True, check=True)

    def tell_relay(self, name, command):
        self.relays[name].stdin.write(command + "\n")
        self.relays[name].stdin.flush()

    def __exit__(self, *_):
        for member in self.members.values():
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGKILL)
            if member.process is not None:
                member.process.wait()
        for relay in self.relays.values():
            relay.kill()
            relay.wait()
        for index in range(1 + SERVERS + WORKERS + 2):
            ip("netns", "del", f"{self.prefix}-{index}", check=False)
        if not getattr(self, "keep", False):
            shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------ waiting

    def poll(self):
        now = time.monotonic()
        for member in self.members.values():
            member.poll(now)
        for when, undo in list(self.heals):
            if now >= when:
                self.heals.remove((when, undo))
                undo()

    def wait_for(self, condition, what, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.poll()
            if condition():
                return
            time.sleep(0.05)
        raise RuntimeError(f"not within {seconds} s: {what}")

    def metrics(self):
        """Of the scheduler: {name with labels: value}."""
        code = f"import urllib.request as u; print(u.urlopen('http://{self.hosts['scheduler'].address}:9700/metrics', timeout=2).read().decode())"
        page = subprocess.run(self.hosts["scheduler"].command(sys.executable, "-c", code), capture_output=True, text=True).stdout
        lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def servers_lost(self):
        return self.metrics().get('marquee_members_lost_total{role="server"}', 0)

    def healthy(self):
        metrics = self.metrics()
        members = sum(value for name, value in metrics.items() if name.startswith("marquee_members{"))
        whole = metrics.get("marquee_under_replicated_partitions") == 0
        if not self.guest and GUEST in self.members:
            if metrics.get("marquee_servers_wanted") != SERVERS or metrics.get("marquee_servers_leaving") != 0:
                return False
            guest = self.members.pop(GUEST)  # nothing is left on it
            guest.signal(signal.SIGKILL)
            if guest.process is not None:
                guest.process.wait()
        return whole and members == len(self.servers()) + WORKERS and metrics["marquee_view_number"] > 0

    def wait_until_healthy(self):
        self.wait_for(lambda: not self.heals, "faults end", 60)
        shown = max([began for _, began, _, _ in self.faults] + [self.began]) + SEEN_WITHIN
        shown = max([shown, *(ended + 1.5 for _, _, ended, _ in self.faults)])
        self.wait_for(lambda: time.monotonic() > shown, "losses are seen", 60)
        self.wait_for(self.healthy, "every process is there, and every partition has two copies", HEALTHY_WITHIN)

    def ledgers(self):
        return sorted(self.folder.glob("*.ledger"))

    def acknowledgements(self):
        """Times of acknowledgements, by worker."""
        times = {}
        for path in self.ledgers():
            times[path.stem] = [int(words[3]) / 1e6 for words in map(str.split, path.read_text().splitlines())
                                if len(words) == 4 and words[0] == "acknowledged"]
        return times

    def acknowledged_since(self, moment):
        times = self.acknowledgements()
        return len(times) == WORKERS and all(any(t > moment for t in of_worker[-5:]) for of_worker in times.values())

    # ------------------------------------------------------------------------------------------------------- faults

    def inject(self):
        """One fault; returns whether it may cost a server's copies."""
        servers = [name for name in self.servers() if name in self.members]
        workers = [f"w{i}" for i in range(WORKERS)]
        kinds = [self.kill_server, self.pause_server, self.link_down, self.blackhole, self.relay_delay, self.relay_stall, self.relay_cut,
                 self.kill_worker, self.pause_worker, self.worker_link_down, self.short_pause, self.edit, self.edit_and_kill]
        if self.copies == 2:
            kinds += [self.kill_scheduler, self.kill_scheduler_and_server]
        kind = self.random.choice(kinds)
        victim = self.random.choice(workers if "worker" in kind.__name__ else servers)
        if kind.__name__ == "kill_scheduler":
            victim = "scheduler"
        began = time.monotonic()
        duration = kind(victim)
        who = victim if isinstance(duration, float) else f"{victim} {duration[1]}"
        duration = duration if isinstance(duration, float) else duration[0]
        self.faults.append((kind.__name__.replace("_", " "), began, began + duration, victim))
        self.say(f"{kind.__name__.replace('_', ' ')}: {who} for {duration:.2f} s")
        return "worker" not in kind.__name__

    def later(self, seconds, undo):
        self.heals.append((time.monotonic() + seconds, undo))

    def kill_server(self, name):
        down = self.random.uniform(0, 4)
        self.members[name].kill(down)
        return down

    kill_worker = kill_server

    def kill_scheduler(self, name):
        """The next one takes the trial over."""
        return self.kill_server(name)

    def kill_scheduler_and_server(self, name):
        """The server comes back, or does not, before there is a scheduler again."""
        return max(self.kill_server("scheduler"), self.kill_server(name)), "(and the scheduler)"

    def pause(self, name, seconds):
        member = self.members[name]
        process = member.process
        member.signal(signal.SIGSTOP)
        self.later(seconds, lambda: process is not None and process.poll() is None and process.send_signal(signal.SIGCONT))
        return seconds

    def pause_server(self, name):
        return self.pause(name, self.random.uniform(0.5, 3) * LEASE)

    def pause_worker(self, name):
        return self.pause(name, self.random.uniform(0.2, 3) * LEASE)

    def short_pause(self, name):
        return self.pause(name, self.random.uniform(0.1, 0.8) * PRIMARY_LEASE)

    def link_down(self, name):
        seconds = self.random.uniform(0.2, 3) * LEASE
        self.hosts[name].link("down")
        self.later(seconds, lambda: self.hosts[name].link("up"))
        return seconds

    worker_link_down = link_down

    def blackhole(self, name):
        """What one host sends to another is lost."""
        others = [other for other in self.hosts if other != name]
        other = self.random.choice(others)
        here, there = self.random.choice([(name, other), (other, name)])
        seconds = self.random.uniform(0.2, 4) * LEASE
        self.hosts[here].blackhole(self.hosts[there], "add")
        self.later(seconds, lambda: self.hosts[here].blackhole(self.hosts[there], "del"))
        return seconds, f"({here} towards {there})"

    def relay_delay(self, name):
        seconds = self.random.uniform(1, 5)
        self.tell_relay(name, f"delay {self.random.uniform(0.005, 0.2):.3f}")
        self.later(seconds, lambda: self.tell_relay(name, "pass"))
        return seconds

    def relay_stall(self, name):
        seconds = self.random.uniform(0.2, 3) * LEASE
        self.tell_relay(name, "stall")
        self.later(seconds, lambda: self.tell_relay(name, "pass"))
        return seconds

    def relay_cut(self, name):
        self.tell_relay(name, "cut")
        return 0.0

    def edit(self, _):
        """The guest comes, or is asked to go."""
        self.guest = not self.guest
        self.write_cluster()
        if self.guest and GUEST not in self.members:
            self.members[GUEST] = self.server(GUEST)
        self.members["scheduler"].signal(signal.SIGHUP)
        return 0.0, f"({GUEST} {'comes' if self.guest else 'goes'})"

    def edit_and_kill(self, name):
        """And in the middle of the moves a server is killed."""
        _, what = self.edit(name)
        member = self.members[self.random.choice([f"s{i}" for i in range(SERVERS)])]
        seconds, down = self.random.uniform(0, 4), self.random.uniform(0, 4)
        self.later(seconds, lambda: member.kill(down))
        return seconds + down, f"{what}, and {member.name} is killed"

    # ---------------------------------------------------------------------------------------------------------- run

    def run(self):
        self.wait_for(lambda: self.acknowledged_since(0), "training", 60)
        self.wait_until_healthy()
        self.say("training, with two copies of everything")
        started = time.monotonic()
        end = started + 60 * self.minutes
        while time.monotonic() < end:
            costly = self.inject()
            pause = time.monotonic() + self.random.uniform(0.1, 2)
            self.wait_for(lambda: time.monotonic() >= pause, "the next fault", 10)
            if costly:
                self.wait_until_healthy()
        self.wait_until_healthy()
        healed = time.monotonic()
        self.wait_for(lambda: self.acknowledged_since(healed), "training goes on", HEALTHY_WITHIN)
        self.say("training goes on; every push is to be acknowledged now")
        for i in range(WORKERS):
            self.members[f"w{i}"].signal(signal.SIGUSR1)
        self.quiet()
        verdicts = [self.judge("as it is")]
        for name in self.servers() if self.copies == 2 else []:
            lost = self.servers_lost()
            self.members[name].kill(0)
            self.wait_for(lambda: self.servers_lost() > lost, "the loss is seen", HEALTHY_WITHIN)
            self.wait_until_healthy()
            verdicts.append(self.judge(f"after the loss of {name}"))
        return self.result(verdicts, started, healed)

    def quiet(self):
        """Until no ledger grows any more."""
        sizes, since = None, time.monotonic()

        def still():
            nonlocal sizes, since
            now = [path.stat().st_size for path in self.ledgers()]
            if now != sizes:
                sizes, since = now, time.monotonic()
            return time.monotonic() - since > 1

        self.wait_for(still, "all pushes are acknowledged", HEALTHY_WITHIN)

    def judge(self, when):
        command = [BIN / "campaign_worker", "--cluster", self.cluster, "--judge", *self.ledgers()]
        judged = subprocess.run(self.hosts["scheduler"].command(*command), capture_output=True, text=True)
        if judged.returncode != 0:
            raise RuntimeError(f"the rows cannot be read, {when}: {judged.stderr}")
        verdict = json.loads(judged.stdout)
        self.say(f"rows compared with the ledger {when}: {verdict['acknowledged']} pushes acknowledged, {verdict['lost']} lost, "
                 f"{verdict['doubled']} doubled, {verdict['foreign']} wrong otherwise")
        for example in verdict["examples"]:
            self.say(f"    {example}")
        return verdict

    def result(self, verdicts, started, healed):
        times = self.acknowledgements()
        recoveries, longest = [], 0.0
        for kind, began, ended, victim in self.faults:
            # How long the workers that were not the victim were without an acknowledgement.
            stall = 0.0
            for worker, of_worker in times.items():
                if worker == victim:
                    continue
                around = [t for t in of_worker if began - 2 <= t <= ended + HEALTHY_WITHIN]
                gaps = [b - a for a, b in zip(around, around[1:]) if b >= began and a <= ended + 2 * LEASE]
                stall = max([stall, *gaps])
            recoveries.append(stall)
            longest = max(longest, stall)
        recoveries.sort()
        quantile = lambda q: recoveries[min(len(recoveries) - 1, int(q * len(recoveries)))] if recoveries else 0.0
        unexpected = {name: member.ended for name, member in self.members.items() if member.ended and name != "scheduler"}
        read_wrong = [name for name in self.members if "DATA_LOSS" in (self.folder / f"{name}.log").read_text()]
        counts = {}
        for kind, *_ in self.faults:
            counts[kind] = counts.get(kind, 0) + 1
        return {
            "faults": len(self.faults),
            "acknowledged": verdicts[0]["acknowledged"],
            "lost": max(verdict["lost"] for verdict in verdicts) + len(read_wrong),
            "doubled": max(verdict["doubled"] + verdict["foreign"] for verdict in verdicts),
            "longest_stall_s": round(longest, 3),
            "recovery_p50_s": round(quantile(0.5), 3),
            "recovery_p99_s": round(quantile(0.99), 3),
            "faults_by_kind": counts,
            "exits_unasked": unexpected,
        }


def print_table(result):
    print("\n| fault | injected |\n|---|---|")
    for kind, count in sorted(result["faults_by_kind"].items()):
        print(f"| {kind} | {count} |")
    print("\n| faults | pushes acknowledged | lost | doubled | longest stall | recovery p50 | recovery p99 |\n|---|---|---|---|---|---|---|")
    print(f"| {result['faults']} | {result['acknowledged']} | {result['lost']} | {result['doubled']} | {result['longest_stall_s']} s "
          f"| {result['recovery_p50_s']} s | {result['recovery_p99_s']} s |")


def namespaces_work():
    name = f"mqc-{os.getpid()}-try"
    try:
        ip("netns", "add", name)
        subprocess.run(["ip", "netns", "exec", name, "nft", "list", "tables"], check=True, capture_output=True)
        return True
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SKIPPED: needs root, network namespaces and nft: {getattr(error, 'stderr', error)}", file=sys.stderr, flush=True)
        return False
    finally:
        ip("netns", "del", name, check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="how long faults are injected")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument("--copies", type=int, choices=[1, 2], default=2, help="of each row; with 1 a lost server is a loss, and shows as one")
    parser.add_argument("--plain", action="store_true", help="without keys")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and ledgers, and say where it is")
    parser.add_argument("--relay", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.relay:
        asyncio.run(Relay(arguments.relay[0], [int(port) for port in arguments.relay[1:]]).run())
        return 0
    if not namespaces_work():
        return 77
    with Campaign(arguments) as campaign:
        campaign.keep = arguments.keep
        try:
            result = campaign.run()
        except RuntimeError as error:
            campaign.keep = True
            print(f"FAILED: {error}; logs and ledgers are in {campaign.folder}", file=sys.stderr, flush=True)
            return 1
        crashed = any(code < 0 for codes in result["exits_unasked"].values() for code in codes)
        failed = result["lost"] + result["doubled"] > 0 or result["acknowledged"] == 0 or crashed
        campaign.keep = arguments.keep or failed
        if arguments.json:
            print(json.dumps(result))
        else:
            print_table(result)
        if campaign.keep:
            print(f"logs and ledgers are in {campaign.folder}", file=sys.stderr, flush=True)
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
