#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A real control plane for tests: etcd and kube-apiserver in the network namespace that this runs in.

usage: tests/kube/control_plane.py start DIRECTORY [--address ADDRESS] [--bin BIN]
       tests/kube/control_plane.py stop DIRECTORY

start builds what is missing (tests/kube/build), and returns when the server is ready, 2 to 5 seconds later; the processes stay.
Everything lies in DIRECTORY: logs, etcd's data (which a later start takes up again, the certificates as well), pids, and the
administrator's kubeconfig. stop ends both by their pids. Without --address the server is at 127.0.0.1; its port is 6443, etcd's
is 2379 of loopback: a namespace holds one of them.

TLS is the server's own authority's (ca.crt); who may log in, besides client certificates of that authority and tokens of service
accounts: the user admin of group system:masters, with the token admin. Authorization is RBAC's.

As a module: ControlPlane, whose processes end with the one that started them, and its Api.
"""

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 6443
ETCD_PORT = 2379
SERVICE_RANGE = "10.96.0.0/12"
SECONDS_TO_START = 1200 if os.environ.get("SLUICE_KERNEL") else 120  # a guest may be emulated, on a busy machine
SECONDS_TO_STOP = 10
PR_SET_PDEATHSIG = 1


def sluiced_rules():
    """What sluiced may do: what is deployed says it."""
    with open(os.path.join(HERE, "../../deploy/cluster/rbac.yaml")) as file:
        return next(each["rules"] for each in yaml.safe_load_all(file) if each["kind"] == "ClusterRole")


def build(*sets):
    """The directory of the programs of these sets; builds what is missing."""
    return subprocess.run([os.path.join(HERE, "build"), *sets], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ApiError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status


class Api:
    """Requests to the server, with one connection for each thread."""

    def __init__(self, address, ca, token, port=PORT):
        self.address, self.port, self.token = address, port, token
        self.tls = ssl.create_default_context(cafile=ca)
        self.local = threading.local()

    def raw(self, method, path, body=None, content_type="application/json"):
        """Status and body of one answer."""
        headers = {"Authorization": "Bearer " + self.token, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                attempt = 2
                connection = http.client.HTTPSConnection(self.address, self.port, context=self.tls, timeout=30)
                self.local.connection = connection
            try:
                connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                # The server ended a connection that lay idle: once more, on a new one.
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise

    def ask(self, method, path, body=None, content_type="application/json"):
        """The object that the server answers with; ApiError if it refuses."""
        status, answer = self.raw(method, path, body, content_type)
        if status >= 300:
            raise ApiError(status, answer.decode(errors="replace"))
        return json.loads(answer)

    def get(self, path):
        return self.ask("GET", path)

    def merge(self, path, patch):
        return self.ask("PATCH", path, patch, "application/merge-patch+json")

    def apply(self, *objects):
        """Makes the objects what they are given as, whatever they were; a status, if given, as well. Returns the last answer."""
        answer = None
        for thing in objects:
            path = path_of(thing)
            for part in [path, path + "/status"][:2 if "status" in thing else 1]:
                answer = self.ask("PATCH", f"{part}?fieldManager=test&force=true", thing, "application/apply-patch+yaml")
        return answer

    def delete(self, thing):
        """Deletes an object, given as itself or by its path, at once; one that is not there is no error."""
        path = thing if isinstance(thing, str) else path_of(thing)
        with contextlib.suppress(KeyError):
            status, answer = self.raw("DELETE", path + "?gracePeriodSeconds=0")
            if status >= 300 and status != 404:
                raise ApiError(status, answer.decode(errors="replace"))


PLURALS = {"Endpoints": "endpoints", "NetworkPolicy": "networkpolicies", "ClusterNetworkPolicy": "clusternetworkpolicies"}
CLUSTER_KINDS = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ClusterNetworkPolicy"}


def collection_of(kind, api_version, namespace=None):
    """The path of all objects of a kind, of one namespace if it is given."""
    root = "/api/v1" if api_version == "v1" else "/apis/" + api_version
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{within}/{PLURALS.get(kind, kind.lower() + 's')}"


def path_of(thing):
    meta, kind = thing["metadata"], thing["kind"]
    namespace = None if kind in CLUSTER_KINDS else meta.get("namespace", "default")
    return collection_of(kind, thing["apiVersion"], namespace) + "/" + meta["name"]


class ControlPlane:
    """etcd and an API server, in a directory."""

    def __init__(self, directory, address="127.0.0.1", programs=None, keep=False, api_flags=(), names=()):
        """keep: the processes outlive us. names: other names and addresses that the server's certificate is good for."""
        self.directory = os.path.abspath(directory)
        self.address = address  # that it listens at
        self.reached = "127.0.0.1" if address == "0.0.0.0" else address  # that we reach it at
        self.programs = programs or build("control")
        self.keep = keep
        self.api_flags = list(api_flags)
        self.names = list(names)
        self.children = {}

    # Files

    def path(self, name):
        return os.path.join(self.directory, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def make_authority(self, name):
        """NAME.crt and NAME.key of a new certificate authority."""
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                     "-keyout", name + ".key", "-out", name + ".crt", "-subj", "/CN=" + name,
                     "-addext", "keyUsage=critical,keyCertSign,digitalSignature")

    def make_certificate(self, name, subject, extensions):
        """NAME.crt and NAME.key, signed by our authority."""
        with open(self.path(name + ".ext"), "w") as file:
            file.write("\n".join(extensions) + "\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
                     "-out", name + ".csr", "-subj", subject)
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "3650", "-out", name + ".crt", "-extfile", name + ".ext")

    def make_files(self):
        os.makedirs(self.directory, exist_ok=True)
        if not os.path.exists(self.path("ca.crt")):
            self.make_authority("ca")
            self.openssl("genrsa", "-out", "accounts.key", "2048")
        names = ["localhost", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1", self.reached, *self.names]
        alternatives = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in dict.fromkeys(names))
        self.make_certificate("server", "/CN=kube-apiserver", ["subjectAltName=" + alternatives, "extendedKeyUsage=serverAuth"])
        with open(self.path("tokens.csv"), "w") as file:
            file.write("admin,admin,admin,system:masters\n")
        self.write_kubeconfig("kubeconfig", {"token": "admin"})

    def write_kubeconfig(self, name, user, ca="ca.crt", server=None):
        """A kubeconfig of this name whose user has these fields (token, tokenFile, client-certificate, …); returns its path."""
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
                  "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                  "clusters": [{"name": "test", "cluster": {"server": server or f"https://{self.reached}:{PORT}",
                                                            "certificate-authority": self.path(ca)}}],
                  "users": [{"name": "test", "user": user}]}
        with open(self.path(name), "w") as file:
            json.dump(config, file, indent=1)  # which is YAML, too
        return self.path(name)

    def client_certificate(self, name, user, group=None):
        """Fields of a kubeconfig's user, who logs in by a certificate."""
        self.make_certificate(name, f"/O={group}/CN={user}" if group else "/CN=" + user, ["extendedKeyUsage=clientAuth"])
        return {"client-certificate": self.path(name + ".crt"), "client-key": self.path(name + ".key")}

    # Processes

    def launch(self, name, *command):
        with open(self.path(name + ".log"), "ab") as log:
            child = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=self.keep, preexec_fn=None if self.keep else end_with_parent)
        self.children[name] = child
        with open(self.path(name + ".pid"), "w") as file:
            print(child.pid, file=file)

    def start_etcd(self):
        url = f"http://127.0.0.1:{ETCD_PORT}"
        self.launch("etcd", os.path.join(self.programs, "etcd"), "--data-dir", self.path("etcd"), "--unsafe-no-fsync",
                    "--quota-backend-bytes", "8000000000", "--listen-client-urls", url, "--advertise-client-urls", url,
                    "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn")

    def start_api(self):
        self.launch("kube-apiserver", os.path.join(self.programs, "kube-apiserver"),
                    f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}", "--bind-address=" + self.address,
                    "--advertise-address=" + self.reached,
                    f"--secure-port={PORT}", "--tls-cert-file=server.crt", "--tls-private-key-file=server.key",
                    "--client-ca-file=ca.crt", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
                    "--service-account-issuer=kubernetes.default.svc", "--service-account-key-file=accounts.key",
                    "--service-account-signing-key-file=accounts.key", "--service-cluster-ip-range=" + SERVICE_RANGE,
                    # No controller makes the account default of a namespace, nor is there a node's kubelet to ask.
                    "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
                    "--kubelet-preferred-address-types=InternalIP",
                    # What is measured is the client: nothing of its is put into a queue.
                    "--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0",
                    *self.api_flags)
        self.api = Api(self.reached, self.path("ca.crt"), "admin")
        end = time.monotonic() + SECONDS_TO_START
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.api.raw("GET", "/readyz")[0] == 200:
                    return
            if self.children["kube-apiserver"].poll() is not None or time.monotonic() > end:
                with open(self.path("kube-apiserver.log"), errors="replace") as file:
                    raise RuntimeError("kube-apiserver does not become ready:\n" + "".join(file.readlines()[-15:]))
            time.sleep(0.05)

    def start(self):
        self.make_files()
        self.start_etcd()
        self.start_api()
        return self

    def stop_api(self, number=signal.SIGKILL):
        self.end("kube-apiserver", number)

    def end(self, name, number=signal.SIGTERM):
        child = self.children.pop(name, None)
        if child is None or child.poll() is not None:
            return
        child.send_signal(number)
        try:
            child.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop(self):
        self.end("kube-apiserver", signal.SIGKILL)  # which holds nothing that etcd does not
        self.end("etcd")

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    # What tests need often

    def grant(self, name, rules=None, subject=None):
        """What a user may do, by a ClusterRole of the same name: what sluiced may, or something else."""
        group = "rbac.authorization.k8s.io"
        self.api.apply({"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules or sluiced_rules()},
                       {"apiVersion": group + "/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                        "subjects": [subject or {"kind": "User", "name": name, "apiGroup": group}]})

    def compact(self):
        """Has etcd forget every revision but the present one."""
        def etcd(path, body):
            connection = http.client.HTTPConnection("127.0.0.1", ETCD_PORT, timeout=30)
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"etcd: {answer.status}: {body}")
            return json.loads(body)

        revision = etcd("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        etcd("/v3/kv/compaction", {"revision": revision, "physical": True})


def is_program(pid, name):
    """Whether a process of this number is the program that we started: numbers are given anew."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0] == name
    except OSError:
        return False


def stop_recorded(directory):
    for name, number in (("kube-apiserver", signal.SIGKILL), ("etcd", signal.SIGTERM)):
        path = os.path.join(directory, name + ".pid")
        if not os.path.exists(path):
            continue
        with open(path) as file:
            pid = int(file.read())
        end = time.monotonic() + SECONDS_TO_STOP
        while is_program(pid, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number if time.monotonic() < end else signal.SIGKILL)
            time.sleep(0.1)
        os.unlink(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("directory")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--bin", help="where the programs are (default: tests/kube/build control)")
    arguments = parser.parse_args()
    if arguments.verb == "stop":
        stop_recorded(arguments.directory)
        return 0
    plane = ControlPlane(arguments.directory, arguments.address, arguments.bin, keep=True)
    try:
        plane.start()
    except BaseException:
        plane.stop()
        raise
    print(plane.path("kubeconfig"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
