"""A server for tests of the web page: serves its files with their policy, and answers as the test says. No model would
write what these tests need: markup that attacks the page, answers that wait, every kind of error."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from conftest import PATIENCE, REPOSITORY

SOURCES = REPOSITORY / "Sources/Serving"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def content_security_policy():
    source = (SOURCES / "Page.swift").read_text(encoding="utf-8")
    literal = re.search(r'contentSecurityPolicy =\n((?:\s*\+? *"[^"]*"\n)+)', source)[1]
    return "".join(re.findall(r'"([^"]*)"', literal))


class PageServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/"
        self.policy = content_security_policy()
        #: By question: the pieces of its answer. A `threading.Event` among them is waited for, a number is a pause in
        #: seconds, an exception breaks the connection, a dictionary is sent as it is.
        self.answers = {}
        #: By question: the reason for which its answer ends, if it is another than "stop".
        self.endings = {}
        #: What the server says of its model beside the name, of the speed of an answer, and in the head of one.
        self.model, self.timings, self.headers = {}, None, {}
        #: The next answers with an error: (status, body, headers).
        self.refusals = []
        self.key = None
        #: The bodies of all requests for an answer.
        self.asked = []
        self.disconnected = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def reply(self, status, body, kind="application/json", headers={}):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, message, code=None, headers={}):
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self.reply(status, json.dumps({"error": error}).encode(), headers=headers)

    def is_allowed(self):
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.refuse(401, "Incorrect API key provided.", "invalid_api_key")
            return False
        return True

    def do_GET(self):
        if self.path == "/v1/models":
            if self.is_allowed():
                self.reply(200, json.dumps(
                    {"object": "list", "data": [{"id": "small-chat", "object": "model", **self.server.model}]}).encode())
            return
        path = SOURCES / "Page" / ("index.html" if self.path == "/" else self.path[1:])
        if path.is_file():
            self.reply(200, path.read_bytes(), TYPES[path.suffix] + "; charset=utf-8", {
                "Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff"})
        else:
            self.refuse(404, "There is no such page.")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_allowed():
            return
        self.server.asked.append(body)
        if self.server.refusals:
            status, message, code, headers = self.server.refusals.pop(0)
            return self.refuse(status, message, code, headers)
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        pieces = self.server.answers.get(self.question(), ["An ", "answer."])
        try:
            self.stream(pieces)
        except OSError:
            self.server.disconnected.set()

    def question(self):
        content = self.server.asked[-1]["messages"][-1]["content"]
        return content[-1]["text"] if isinstance(content, list) else content

    def stream(self, pieces):
        def send(**chunk):
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def delta(content, reason=None):
            send(choices=[{"index": 0, "delta": content, "finish_reason": reason}], usage=None)

        delta({"role": "assistant", "content": ""})
        self.wfile.write(b": keepalive\n\n")
        count = 0
        for piece in pieces:
            if isinstance(piece, threading.Event):
                piece.wait(PATIENCE)
            elif isinstance(piece, float):
                time.sleep(piece)
            elif isinstance(piece, Exception):
                return
            elif isinstance(piece, dict):
                delta(piece)
            else:
                delta({"content": piece})
                count += 1
        delta({}, self.server.endings.get(self.question(), "stop"))
        timings = {"timings": self.server.timings} if self.server.timings else {}
        send(choices=[], usage={"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}, **timings)
        self.wfile.write(b"data: [DONE]\n\n")
