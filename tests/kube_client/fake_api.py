# SPDX-License-Identifier: GPL-2.0-only
"""A Kubernetes API server for tests, on loopback, over TLS and HTTP/1.1: it lists and watches what it is given, and
misbehaves on demand.

A fault is a function (request handler, query, word) that answers in the place of the server, put into
faults[word, verb] where word is "pods" and verb "list" or "watch". It is used once for each time that it was put there;
one that returns GO_ON has done something first and lets the server answer.
"""

import collections
import gzip
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

KINDS = {"namespaces": ("Namespace", "v1"), "nodes": ("Node", "v1"), "pods": ("Pod", "v1"), "services": ("Service", "v1"),
         "endpointslices": ("EndpointSlice", "discovery.k8s.io/v1"),
         "networkpolicies": ("NetworkPolicy", "networking.k8s.io/v1"),
         "clusternetworkpolicies": ("ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2")}
GO_ON = object()


def make_certificates(directory, name="fake"):
    """A CA, a server certificate of it for 127.0.0.1 and api.test, a client certificate: <name>-{ca,server,client}.{crt,key}."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    path = os.path.join(directory, name)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test CA " + name, "-keyout", path + "-ca.key", "-out", path + "-ca.crt")
    for role, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:api.test"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + role,
                "-keyout", f"{path}-{role}.key", "-out", f"{path}-{role}.csr")
        with open(f"{path}-{role}.ext", "w") as file:
            file.write(extension + "\n")
        openssl("x509", "-req", "-in", f"{path}-{role}.csr", "-CA", path + "-ca.crt", "-CAkey", path + "-ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", f"{path}-{role}.ext", "-out", f"{path}-{role}.crt")
    return path


def status(code, reason, message):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
            "code": code}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # ---- what faults are made of ----

    def send_json(self, code, value, headers=(), compress=False):
        self.send_body(code, json.dumps(value).encode(), headers, compress)

    def send_body(self, code, body, headers=(), compress=False):
        if compress and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers = (*headers, ("Content-Encoding", "gzip"))
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin_chunks(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.compress = "gzip" in self.headers.get("Accept-Encoding", "")
        if self.compress:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()

    def send_chunk(self, data):
        """Compressed, each is a gzip member of its own, as the real one has it for watch events."""
        if self.compress:
            data = gzip.compress(data, 1)
        self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
        self.wfile.flush()

    def end_chunks(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def send_event(self, kind, value):
        self.send_chunk(json.dumps({"type": kind, "object": value}).encode() + b"\n")

    def hang_up(self):
        self.close_connection = True

    # ---- answers ----

    def do_GET(self):
        api = self.server.api
        self.cuts = api.cut
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        word = url.path.rsplit("/", 1)[-1]
        verb = "watch" if query.get("watch") else "list"
        api.requests.append((time.monotonic(), word, verb, query, dict(self.headers)))
        try:
            if api.token and self.headers.get("Authorization") != "Bearer " + api.token:
                self.send_json(401, status(401, "Unauthorized", "Unauthorized"))
                return
            with api.lock:
                queue = api.faults[word, verb]
                fault = queue.popleft() if queue else None
            if fault and fault(self, query, word) is not GO_ON:
                return
            if word not in KINDS or word in api.absent:
                self.send_json(404, status(404, "NotFound", "the server could not find the requested resource"))
            elif verb == "watch":
                self.watch(api, word, query)
            else:
                self.list(api, word, query)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.api.requests.append((time.monotonic(), self.path, "post", body, dict(self.headers)))
        self.send_body(201, body)

    def list(self, api, word, query):
        kind, version = KINDS[word]
        limit, at = int(query.get("limit", 0)), 0
        with api.lock:
            revision = api.revision
            texts = [text for _, text in sorted(api.texts[word].items())]
        if query.get("continue"):
            revision, at = (int(n) for n in query["continue"].split("."))
        api.lists[word] += 1
        end = at + limit if limit else len(texts)
        metadata = {"resourceVersion": str(revision)}
        if end < len(texts):
            metadata["continue"] = f"{revision}.{end}"
        items = "[" + ",".join(texts[at:end]) + "]"
        if kind == "ClusterNetworkPolicy":  # a custom resource: the fields are sorted
            text = f'{{"apiVersion":"{version}","items":{items},"kind":"{kind}List","metadata":{json.dumps(metadata)}}}\n'
        else:
            text = json.dumps({"kind": kind + "List", "apiVersion": version, "metadata": metadata})[:-1] + f', "items": {items}}}\n'
        self.send_body(200, text.encode(), compress=True)

    def watch(self, api, word, query):
        kind, version = KINDS[word]
        began = self.cuts
        initial = query.get("sendInitialEvents") == "true"
        if initial and not api.watch_list:
            self.send_json(422, status(422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList "
                                                       "feature gate is enabled"))
            return
        with api.lock:
            revision = api.revision if initial else int(query["resourceVersion"] or 0)
            texts = list(api.texts[word].values()) if initial else []
            compacted = revision < api.compacted
        api.watches[word] += 1
        if compacted:
            self.begin_chunks()
            self.send_event("ERROR", status(410, "Expired", f"too old resource version: {revision} ({api.compacted})"))
            self.end_chunks()
            return
        self.begin_chunks()
        if initial:
            for at in range(0, len(texts), 50):
                self.send_chunk("".join(f'{{"type":"ADDED","object":{text}}}\n' for text in texts[at:at + 50]).encode())
            self.send_event("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": {
                "resourceVersion": str(revision), "annotations": {"k8s.io/initial-events-end": "true"}}})
        deadline = time.monotonic() + min(float(query.get("timeoutSeconds", 300)), api.watch_seconds)
        while time.monotonic() < deadline and not api.stopped:
            with api.lock:
                events = [event for event in api.history[word] if event[0] > revision]
                if not events:
                    api.lock.wait(0.2)
                    events = [event for event in api.history[word] if event[0] > revision]
                cut = api.cut
            if cut > began:
                self.hang_up()
                return
            for revision, line in events:
                self.send_chunk(line)
        self.end_chunks()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that goes away, or whose certificates we are not trusted by


class FakeApi:
    def __init__(self, certificates, watch_list=True, client_ca=False):
        self.lock = threading.Condition()
        self.certificates = certificates
        self.client_ca = client_ca
        self.watch_list = watch_list
        self.absent = set()  # words of kinds whose definition is not there
        self.watch_seconds = 3600.0
        self.token = None
        self.revision = 1000
        self.compacted = 0
        self.cut = 0
        self.stopped = False
        self.objects = collections.defaultdict(dict)
        self.texts = collections.defaultdict(dict)
        self.history = collections.defaultdict(list)
        self.faults = collections.defaultdict(collections.deque)
        self.requests = []
        self.lists = collections.Counter()
        self.watches = collections.Counter()
        self.server = None
        self.port = 0
        self.start()

    def start(self):
        """Also again, after stop(), on the same port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates + "-server.crt", self.certificates + "-server.key")
        if self.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificates + "-ca.crt")
        self.stopped = False
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.api = self
        self.port = self.server.server_address[1]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.stopped = True
        self.server.shutdown()
        self.server.server_close()
        self.cut_watches()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def cut_watches(self):
        """Closes the connections of all watches, in the midst of them."""
        with self.lock:
            self.cut += 1
            self.lock.notify_all()

    def compact(self):
        """What has happened so far cannot be watched from before now."""
        with self.lock:
            self.revision += 1
            self.compacted = self.revision
            for events in self.history.values():
                events.clear()

    def fault(self, word, verb, function, times=1):
        with self.lock:
            self.faults[word, verb].extend([function] * times)

    def clear_faults(self):
        with self.lock:
            self.faults.clear()

    def put(self, word, value, silent=False):
        """Adds or changes an object. silent: no watch tells of it (as if it had been lost)."""
        metadata = value["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        with self.lock:
            self.revision += 1
            metadata["resourceVersion"] = str(self.revision)
            kind, version = KINDS[word]
            text = json.dumps({"kind": kind, "apiVersion": version, **value})
            event = "MODIFIED" if key in self.texts[word] else "ADDED"
            self.texts[word][key] = text
            if not silent:
                self.history[word].append((self.revision, f'{{"type":"{event}","object":{text}}}\n'.encode()))
                self.lock.notify_all()

    def delete(self, word, name, namespace="", silent=False):
        with self.lock:
            text = self.texts[word].pop((namespace, name))
            self.revision += 1
            value = json.loads(text)
            value["metadata"]["resourceVersion"] = str(self.revision)
            if not silent:
                self.history[word].append((self.revision,
                                           json.dumps({"type": "DELETED", "object": value}).encode() + b"\n"))
                self.lock.notify_all()
