"""Runs the containers of rendered Kubernetes manifests as a node does, without a cluster: each pod in a network namespace with an address of
its own, on a root that is read-only, as the manifest's user, with volumes at the manifest's paths and modes, and with names that resolve
as a headless service's do: once the pod has an address, and to the new one once it has another. Needs root."""

import base64
import contextlib
import os
import pathlib
import re
import shutil
import subprocess

NET = "10.77.33"
GROUP_READS = 0o040


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


# The root of a container: the programs and libraries of this machine, nothing of its /etc but what the loader and the resolver read.
# No folder can be written to but volumes. Its argument list: root, script of mounts, user:group, then the command.
ENTER = """
set -e
root=$1 volumes=$2 user=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root/usr" "$root/etc" "$root/proc" "$root/dev"
for link in bin lib lib32 lib64 libx32 sbin; do [ ! -L "/$link" ] || ln -s "usr/$link" "$root/$link"; done
mount --rbind -o ro /usr "$root/usr"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
for file in ld.so.cache nsswitch.conf alternatives; do
  if [ -d "/etc/$file" ]; then mkdir "$root/etc/$file"; else : > "$root/etc/$file"; fi
  mount --bind "/etc/$file" "$root/etc/$file"
done
: > "$root/etc/hosts"
. "$volumes"
mount -o remount,ro "$root"
exec chroot --userspec="$user" --groups="${user#*:}" "$root" "$@"
"""


class Pod:
    """One container of a pod that runs. `namespace` is None once its network is gone."""

    def __init__(self, name, namespace, address, process, log):
        self.name, self.namespace, self.address, self.process, self.log = name, namespace, address, process, log

    def output(self):
        return self.log.read_text()

    def running(self):
        return self.process.poll() is None


class Node:
    """Use as a context manager. `image` is the folder that holds what the image has under /opt/marquee."""

    def __init__(self, folder, image):
        self.folder, self.image = pathlib.Path(folder), pathlib.Path(image)
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.switch = f"marquee-{os.getpid()}-node"
        self.claims, self.pods, self.names, self.next_address = {}, [], {}, 2
        self.folder.chmod(0o755)

    def __enter__(self):
        try:
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.switch, "link", "set", "bridge", "up")
            ip("-n", self.switch, "addr", "add", f"{NET}.1/24", "dev", "bridge")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pod in self.pods:
            self.remove(pod)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", self.switch)

    def run(self, name, host, spec, objects, annotations=None):
        """Starts the one container of a pod's spec; `host` is its name behind the headless service. `objects` finds ConfigMaps and
        Secrets by (kind, name)."""
        (container,) = spec["containers"]
        namespace, address = self.add_network(name)
        volumes = self.write_volumes(name, spec, container, objects)
        environment = {entry["name"]: self.value_of(entry, name, annotations or {}) for entry in container.get("env", [])}
        arguments = [re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], part) for part in container.get("args", [])]
        security = spec["securityContext"]
        root, log = self.folder / f"root-{namespace}", self.folder / f"{namespace}.log"
        root.mkdir()
        command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]
        command += [root, volumes, f"{security['runAsUser']}:{security['runAsGroup']}"]
        command += ["env", "-i", *[f"{key}={value}" for key, value in environment.items()], *container["command"], *arguments]
        with open(log, "w") as output:
            process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        pod = Pod(name, namespace, address, process, log)
        self.pods.append(pod)
        self.name(host, address)
        return pod

    def add_network(self, name):
        address, self.next_address = f"{NET}.{self.next_address}", self.next_address + 1
        namespace = f"marquee-{os.getpid()}-{address.rsplit('.', 1)[1]}"
        ip("netns", "add", namespace)
        port = f"port{address.rsplit('.', 1)[1]}"
        ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.switch)
        ip("-n", self.switch, "link", "set", port, "master", "bridge", "up")
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        return namespace, address

    @staticmethod
    def value_of(entry, pod_name, annotations):
        if "value" in entry:
            return entry["value"]
        path = entry["valueFrom"]["fieldRef"]["fieldPath"]
        if path == "metadata.name":
            return pod_name
        return annotations[re.fullmatch(r"metadata\.annotations\['(.*)'\]", path)[1]]

    def name(self, host, address):
        """What the cluster's DNS answers from now on. The file is written in place: pods see it through a mount."""
        if host is not None:
            self.names[host] = address
        lines = [f"{known} {name}" for name, known in self.names.items()]
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")

    def write_volumes(self, pod_name, spec, container, objects):
        """A script of mounts, as the kubelet makes them; the folders are relative to the shell's $root."""
        group = spec["securityContext"]["fsGroup"]
        script = [f'mount --bind "{self.hosts}" "$root/etc/hosts"']
        mounts = [("/opt/marquee", self.image, True)]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            folder, read_only = self.volume(pod_name, volumes.get(mount["name"]) or {"name": mount["name"]}, group, objects)
            mounts.append((mount["mountPath"], folder, read_only or mount.get("readOnly", False)))
        for path, folder, read_only in mounts:
            script.append(f'mkdir -p "$root{path}" && mount --bind "{folder}" "$root{path}"')
            if read_only:
                script.append(f'mount -o remount,bind,ro "$root{path}"')
        file = self.folder / f"volumes-{pod_name}-{self.next_address}.sh"
        file.write_text("\n".join(script) + "\n")
        return file

    def volume(self, pod_name, volume, group, objects):
        """(folder, whether it is read-only whatever the mount says). A claim without a volume is the pod's own, of a StatefulSet."""
        if "configMap" in volume:
            files = objects["ConfigMap", volume["configMap"]["name"]]["data"]
            return self.projected(pod_name, volume["name"], {key: text.encode() for key, text in files.items()}, 0o644, group), True
        if "secret" in volume:
            secret = objects["Secret", volume["secret"]["secretName"]]["data"]
            files = {item["path"]: base64.b64decode(secret[item["key"]]) for item in volume["secret"]["items"]}
            return self.projected(pod_name, volume["name"], files, volume["secret"]["defaultMode"], group), True
        claim = volume.get("persistentVolumeClaim") or {"claimName": f"{volume['name']}-{pod_name}"}
        folder = self.claims.setdefault(claim["claimName"], self.folder / f"claim-{claim['claimName']}")
        folder.mkdir(exist_ok=True)
        os.chown(folder, 0, group)
        folder.chmod(0o2775)
        return folder, claim.get("readOnly", False)

    def projected(self, pod_name, name, files, mode, group):
        """As the kubelet lays out files: links to a folder that it replaces whole, root's, and readable by the pod's group."""
        folder = self.folder / f"{pod_name}-{name}-{self.next_address}"
        data = folder / "..2026_11_27"
        data.mkdir(parents=True)
        (folder / "..data").symlink_to(data.name)
        for path, content in files.items():
            (data / path).write_bytes(content)
            os.chown(data / path, 0, group)
            (data / path).chmod(mode | GROUP_READS)
            (folder / path).symlink_to(f"..data/{path}")
        return folder

    def get(self, pod, port, path):
        """(status, body) of a GET from the node, as a probe makes it; status 0 if nobody answers."""
        url = f"http://{pod.address}:{port}{path}"
        command = ["ip", "netns", "exec", self.switch, "curl", "-s", "-m", "5", "-w", "\n%{http_code}", url]
        body, _, status = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rpartition("\n")
        return int(status or 0), body

    def lose(self, pod):
        """The pod's node goes without a word: its network first, so that no peer hears of it."""
        ip("-n", self.switch, "link", "del", f"port{pod.address.rsplit('.', 1)[1]}")
        pod.process.kill()
        pod.process.wait()
        self.remove(pod)

    def remove(self, pod):
        if pod.running():
            pod.process.kill()
            pod.process.wait()
        if pod.namespace is not None:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", pod.namespace)
            shutil.rmtree(self.folder / f"root-{pod.namespace}", ignore_errors=True)
        pod.namespace = None
