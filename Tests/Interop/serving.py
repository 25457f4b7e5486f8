"""Runs `minimind serve` for tests, on a port of its own, and talks HTTP with it without any client library."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess

from conftest import PATIENCE, wait_until


class Server:
    """`minimind serve --model MODEL --port 0 …`, until the end of the `with` block."""

    def __init__(self, binary, model, *arguments, env=None):
        self.process = subprocess.Popen(
            [str(part) for part in (binary, "serve", "--model", model, "--port", 0, *arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            env=os.environ | (env or {}))
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.port = int(re.search(r"http://[^ ]*:(\d+):", line).group(1))
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def request(self, method, path, body=None, headers=None):
        """The status, the headers and the body of one request; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def post(self, path, **fields):
        """The status and the JSON of a POST with these fields."""
        status, _, body = self.request("POST", path, fields)
        return status, json.loads(body)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def metric(self, name):
        text = self.request("GET", "/metrics")[2].decode()
        return float(re.search(rf"^minimind_{re.escape(name)} (\S+)$", text, re.MULTILINE).group(1))

    def requests(self, route, status):
        """How many requests have been counted with this status."""
        text = self.request("GET", "/metrics")[2].decode()
        count = re.search(rf'^minimind_requests_total{{route="{route}",status="{status}"}} (\d+)$', text, re.MULTILINE)
        return int(count.group(1)) if count else 0

    def wait_until_idle(self):
        wait_until(lambda: self.metric("sequences_running") + self.metric("sequences_waiting") == 0,
                   "the server is still generating")


def events(body):
    """The data of the events of a stream, parsed but for the last, which must be [DONE]."""
    text = body.decode()
    assert text.endswith("\n\n")
    frames = [frame for frame in text[:-2].split("\n\n") if frame != ": keepalive"]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    assert frames[-1] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
