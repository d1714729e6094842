# SPDX-License-Identifier: GPL-2.0-only
"""What tests of sluice-cni stand on: a node in namespaces of its own, its pods, a fake sluiced; TAP on stdout."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from fake_sluiced import FakeSluiced

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))
import tap  # noqa: E402
from tap import equal, ok  # noqa: E402

PLUGIN = os.path.join(TOP, "build/bin/sluice-cni")
FAULTY = os.path.join(TOP, "build/tests/cni/sluice-cni")
CIDR4, CIDR6 = "10.1.0.0/24", "fd00:1::/64"


def ip(*args, ns=None):
    cmd = ["ip"] + (["-n", ns] if ns else []) + list(args)
    return subprocess.run(cmd, check=True, capture_output=True, text=True).stdout


def ip_json(*args, ns=None):
    return json.loads(ip("-j", *args, ns=ns) or "[]")


class Outcome:
    """What one call of the plugin gave."""

    def __init__(self, process):
        self.rc = process.returncode
        self.out = process.stdout
        self.err = process.stderr.decode(errors="replace")
        try:
            self.json = json.loads(self.out)
        except ValueError:
            self.json = None

    code = property(lambda self: (self.json or {}).get("code"))
    msg = property(lambda self: (self.json or {}).get("msg", ""))
    details = property(lambda self: (self.json or {}).get("details", ""))

    def __repr__(self):
        return f"exit {self.rc}\nstdout: {self.out!r}\nstderr: {self.err}"

    def addresses(self):
        return [i["address"].split("/")[0] for i in self.json["ips"]]


class World:
    """The node, its pods and its sluiced."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-cni-test.")
        self.data = os.path.join(self.dir, "ipam")
        self.sluiced = FakeSluiced(os.path.join(self.dir, "sluiced.sock"))
        self.pods = 0
        ip("link", "set", "lo", "up")
        ip("link", "add", "uplink0", "mtu", "1450", "type", "veth", "peer", "name", "uplink1")
        for name in ("uplink0", "uplink1"):
            # No link-local address: it would appear in the middle of a test.
            ip("link", "set", name, "addrgenmode", "none")
            ip("link", "set", name, "up")
        ip("addr", "add", "192.0.2.1/24", "dev", "uplink0")
        ip("addr", "add", "2001:db8::1/64", "dev", "uplink0", "nodad")
        ip("route", "add", "default", "via", "192.0.2.254")
        ip("-6", "route", "add", "default", "via", "2001:db8::fe", "dev", "uplink0")
        for knob in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            with open(f"/proc/sys/net/{knob}", "w") as f:
                f.write("1")

    def pod(self):
        name = f"pod{self.pods}"
        self.pods += 1
        ip("netns", "add", name)
        return name

    def config(self, **keys):
        config = {"cniVersion": "1.1.0", "name": "cluster", "type": "sluice-cni",
                  "podCIDRs": [CIDR4, CIDR6], "dataDir": self.data,
                  "socket": self.sluiced.path, "attachTimeout": 5}
        config.update({k.replace("__", "."): v for k, v in keys.items()})
        return {k: v for k, v in config.items() if v is not None}

    def env(self, command, container="c1", netns=None, ifname="eth0", args=None, path="/nowhere"):
        env = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": container,
               "CNI_NETNS": f"/run/netns/{netns}" if netns else "", "CNI_IFNAME": ifname,
               "CNI_PATH": path, "CNI_ARGS": args}
        return {k: v for k, v in env.items() if v is not None}

    def call(self, command, config=None, binary=PLUGIN, extra=None, stdin=None, env=None, **who):
        if stdin is None:
            stdin = json.dumps(self.config() if config is None else config).encode()
        env = dict(self.env(command, **who) if env is None else env, **(extra or {}))
        return Outcome(subprocess.run([binary], input=stdin, env=env, capture_output=True,
                                      timeout=60))

    def store(self):
        """Reservations by network: {"cluster/10.1.0.2": "c1 eth0"}."""
        files = {}
        for path in glob.glob(self.data + "/*/*"):
            name = os.path.basename(path)
            if name == "lock" or name.startswith("last."):
                continue
            with open(path) as f:
                files[os.path.relpath(path, self.data)] = f.read().strip().replace("\n", " ")
        return files

    def snapshot(self, *pods):
        """All that an ADD can leave: interfaces, addresses, routes, neighbours, reservations."""
        state = {"store": self.store()}
        for ns in (None,) + pods:
            state[ns] = [
                sorted(link["ifname"] for link in ip_json("link", ns=ns)),
                sorted(a["local"] for link in ip_json("addr", ns=ns) for a in link["addr_info"]
                       if a.get("local")),
                sorted(ip("route", "show", "table", "all", ns=ns).splitlines()),
                sorted(ip("-6", "route", "show", "table", "all", ns=ns).splitlines()),
                sorted(ip("neigh", "show", "nud", "permanent", ns=ns).splitlines()),
            ]
        return state

    def reset(self, keep=()):
        """Remove what a test left, by the plugin's own GC, and see that it does."""
        keep = [{"containerID": c, "ifname": "eth0"} for c in keep]
        self.sluiced.answers = {}
        out = self.call("GC", self.config(**{"cni.dev/valid-attachments": keep}))
        self.sluiced.take()
        return out


# Says its port, takes one connection and answers with the peer's address.
SERVER = """
import socket
s = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
s.settimeout(10)
print(s.getsockname()[1], flush=True)
conn, peer = s.accept()
conn.sendall(peer[0].removeprefix("::ffff:").encode())
"""
CLIENT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
print(s.recv(100).decode())
"""


def talk(source, target, address):
    """Connect by TCP from one namespace to an address of another (None: the node). Returns the
    address the server saw, or what went wrong."""
    def command(ns, *args):
        return (["ip", "netns", "exec", ns] if ns else []) + [sys.executable, "-c", *args]

    server = subprocess.Popen(command(target, SERVER), stdout=subprocess.PIPE, text=True)
    port = server.stdout.readline().strip()
    client = subprocess.run(command(source, CLIENT, address, port), capture_output=True, text=True)
    if client.returncode:
        server.kill()
    server.communicate()
    return client.stdout.strip() or client.stderr


def host_ends():
    return {link["ifname"]: link for link in ip_json("link")
            if re.fullmatch("sl[0-9a-f]{11}", link["ifname"])}


def with_previous(config, add):
    return dict(config, prevResult=add.json)


def fault_steps():
    steps = []
    for path in sorted(glob.glob(os.path.join(TOP, "cni/*.c"))):
        with open(path) as f:
            for call in re.findall(r"\b(?:cni_)?fault\(([^;{]*?)\)", f.read()):
                steps += re.findall(r'"([a-z0-9-]+)"', call)
    return sorted(set(steps))


def main(script, names):
    """Runs the functions of a script whose names begin with test_, each with the same World."""
    if os.geteuid():
        sys.exit(f"{script}: needs root")
    if os.environ.get("SLUICE_CNI_TEST_INSIDE") != str(os.getppid()):
        subprocess.run(["make", "-s", "-C", os.path.join(TOP, "cni"), "all", "faults"], check=True)
        # A child in namespaces of its own: all links and mounts go with it.
        env = dict(os.environ, SLUICE_CNI_TEST_INSIDE=str(os.getpid()))
        sys.exit(subprocess.run(["unshare", "--net", "--mount", sys.executable, script,
                                 *sys.argv[1:]], env=env).returncode)
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    world = World()
    for name, test in tap.tests_of(names, pattern):
        tap.attempt(name, test, world, more=traceback.format_exc)
        out = world.reset()
        for network in ("small", "tiny", "multi", "other"):
            world.call("GC", world.config(name=network, **{"cni.dev/valid-attachments": []}))
        world.sluiced.take()
        ok(not host_ends() and not world.store(), f"{name} leaves the node clean",
           (out, host_ends(), world.store()))
    shutil.rmtree(world.dir)
    sys.exit(tap.end())
