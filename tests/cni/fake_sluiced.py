# SPDX-License-Identifier: GPL-2.0-only
"""A sluiced that only answers: it records requests, and does what a test tells it."""

import json
import os
import socket
import threading
import time


class FakeSluiced:
    """Listens on a unix socket until stop(). `answers` maps an op to what it gets: an object, a
    function of the request that returns one, or None to close the connection without an answer."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.requests = []
        self.answers = {}
        self.sock = None
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen(128)
        threading.Thread(target=self.accept, args=(self.sock,), daemon=True).start()

    def stop(self):
        # shutdown() wakes accept(), close() alone does not.
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        os.unlink(self.path)

    def accept(self, sock):
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn, conn.makefile("rb") as stream:
            for line in stream:
                request = json.loads(line)
                with self.lock:
                    self.requests.append(request)
                answer = self.answers.get(request["op"], {"ok": True})
                if callable(answer):
                    answer = answer(request)
                if answer is None:
                    return
                if isinstance(answer, float):
                    time.sleep(answer)
                    answer = {"ok": True}
                try:
                    conn.sendall(answer if isinstance(answer, bytes)
                                 else json.dumps(answer).encode() + b"\n")
                except OSError:
                    return  # the plugin was killed meanwhile

    def take(self, op=None):
        """The requests since the last call (of one op), and forget all of them."""
        with self.lock:
            requests, self.requests = self.requests, []
        return [r for r in requests if op in (None, r["op"])]


def refusal(code, message="told to"):
    return {"ok": False, "error": {"code": code, "message": message}}
