# SPDX-License-Identifier: GPL-2.0-only
"""sluiced and sluicectl beside a control plane, and the namespaces that both are in: what tests/kube/run and tests/kube/scale share."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import control_plane

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(TOP, "build/bin")
INSIDE = "SLUICE_KUBE_INSIDE"
SERVER, NODE = "10.0.0.1", "10.0.0.2"


def sh(command):
    subprocess.run(command, shell=True, check=True)


def enter_namespaces():
    """Goes on in namespaces of our own, at whose end everything that was started there ends: with us, whatever ends us."""
    if INSIDE in os.environ:
        sh("mount -t tmpfs -o mode=755 run /run && mkdir /run/netns && mount -t bpf bpf /sys/fs/bpf && ip link set lo up")
        return
    if os.geteuid() != 0:
        sys.exit(f"{sys.argv[0]}: only root may make network namespaces")
    hierarchy = subprocess.run(["findmnt", "-nft", "cgroup2", "-o", "TARGET"], stdout=subprocess.PIPE, text=True).stdout.strip()
    with open("/proc/self/cgroup") as file:
        own = next((line.strip().split("::/", 1)[1] for line in file if line.startswith("0::/")), "")
    # The eBPF variant's programs for sockets, in a cgroup where nobody is.
    cgroup = os.path.join(hierarchy, own, f"sluice-kube-{os.getpid()}")
    if hierarchy:
        os.mkdir(cgroup)
    child = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "--net", "--ipc", "--pid", "--fork", "--kill-child",
                              "--mount-proc", *sys.argv], env={**os.environ, INSIDE: cgroup if hierarchy else ""},
                             preexec_fn=control_plane.end_with_parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.kill())
    status = child.wait()
    with contextlib.suppress(OSError):
        os.rmdir(cgroup)
    sys.exit(status if status >= 0 else 128 - status)


def make_node(name, address=NODE):
    """A network namespace with a link to ours, where the API server is at SERVER."""
    inside = f"nsenter --net=/run/netns/{name} ip"
    sh(f"ip netns add {name} && ip link add to-{name} type veth peer name eth0 netns {name} && ip link set to-{name} up && "
       f"ip addr add {SERVER} peer {address} dev to-{name} && {inside} link set lo up && {inside} link set eth0 up && "
       f"{inside} addr add {address} peer {SERVER} dev eth0 && {inside} route add default via {SERVER}")


class Sluiced:
    """A sluiced; in the network namespace of this name, if it is given. source: --kubeconfig FILE or --manifests PATH."""

    def __init__(self, directory, *source, dataplane="memory", namespace=None, node="node-0", env=None):
        self.directory = directory + ".sluiced"
        os.makedirs(self.directory, exist_ok=True)
        self.socket = os.path.join(self.directory, "sock")
        self.log = os.path.join(self.directory, "log")
        self.within = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        self.command = [*self.within, os.path.join(PROGRAMS, "sluiced"), "--node", node, *source, "--socket", self.socket,
                        "--dataplane", dataplane]
        if dataplane == "bpf":
            self.command += ["--cgroup", os.environ[INSIDE], "--conn-budget", "64M"]
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.attached = 0

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stderr=log, stdin=subprocess.DEVNULL, env=self.env,
                                            preexec_fn=control_plane.end_with_parent)
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def ask(self, **request):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            connection.connect(self.socket)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                return json.loads(answer.readline())

    def status(self):
        return self.ask(op="status")

    def kinds(self):
        return self.status()["source"]["kinds"]

    def read_log(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def ctl(self, *arguments):
        """What sluicectl prints, as JSON."""
        run = subprocess.run([*self.within, os.path.join(PROGRAMS, "sluicectl"), *arguments, "-o", "json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env={**self.env, "SLUICE_SOCKET": self.socket})
        if run.returncode:
            raise RuntimeError(f"sluicectl {' '.join(arguments)}: {run.stderr}")
        return json.loads(run.stdout)

    def attach(self, namespace, pod, address, device=None, index=0, timeout=10):
        """Attaches a pod; to a device that there need not be, if none is given: the data plane in memory does not look."""
        self.attached += 1
        return self.ask(op="attach", namespace=namespace, pod=pod, containerID=f"{namespace}-{pod}", ifname="eth0", hostIfname=device or f"sl{self.attached}",
                        ifindex=index or 1000 + self.attached, ips=[address], timeout=timeout)


def until(condition, seconds=20, step=0.02):
    """Whether it came true in time; who is not there yet, or not any more, has not said yes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if condition():
                return True
        time.sleep(step)
    return False
