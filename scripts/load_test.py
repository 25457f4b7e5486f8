#!/usr/bin/env python3
"""Loads `minimind serve` as a bad day would, and looks whether anything is the worse for it.

    scripts/load_test.py --model my-chat [--minutes 10] [--streams 64] [-- options of minimind serve]

So many requests at once over all routes, streamed and whole, and beside them clients that read slowly, leave in the middle,
send nonsense or too much. Each answer at temperature 0 must equal the one that the same prompt got alone from the same
route. At the end the memory must be what it was after the first minute, and a request be answered as quickly as before. Only
127.0.0.1 is spoken to. Exit code 0 if all is well.
"""

import argparse
import http.client
import json
import random
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/Interop"))
from serving import Server  # noqa: E402

WORDS = "the river mountain question answer 你好 世界 山 水 Once upon a time light what is 3 + 4 ?".split()


def prompts(count):
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, 60))) for _ in range(count)]


def length(index):
    """The tokens of an answer."""
    return 16 + index % 64


def settings(index):
    return {"temperature": 0, "max_tokens": length(index), "ignore_eos": True}


def fields(prompt, index):
    return {"prompt": prompt} | settings(index)


def conversation(prompt, index):
    return {"messages": messages(prompt)} | settings(index)


def messages(prompt):
    return [{"role": "user", "content": prompt}]


def ollama(index):
    return {"options": {"temperature": 0, "num_predict": length(index)}}


#: By path: the fields of a request, the text of a whole answer, and that of a part of a stream; None where nothing is streamed.
ROUTES = {
    "/v1/completions": (fields, lambda reply: reply["choices"][0]["text"], lambda part: part["choices"][0]["text"]),
    "/v1/chat/completions": (
        conversation, lambda reply: reply["choices"][0]["message"]["content"], lambda part: part["choices"][0]["delta"].get("content") or ""),
    "/v1/responses": (
        lambda prompt, index: {"input": prompt, "temperature": 0, "max_output_tokens": length(index), "ignore_eos": True},
        lambda reply: "".join(part["text"] for item in reply["output"] for part in item.get("content", [])),
        lambda part: part["delta"] if part["type"] == "response.output_text.delta" else ""),
    "/v1/messages": (
        conversation, lambda reply: "".join(part["text"] for part in reply["content"]),
        lambda part: part["delta"]["text"] if part["type"] == "content_block_delta" else ""),
    "/api/chat": (lambda prompt, index: {"messages": messages(prompt)} | ollama(index),
                  lambda reply: reply["message"]["content"], lambda part: part["message"]["content"]),
    "/api/generate": (lambda prompt, index: {"prompt": prompt} | ollama(index),
                      lambda reply: reply["response"], lambda part: part["response"]),
    "/v1/embeddings": (lambda prompt, index: {"input": prompt}, lambda reply: reply["data"][0]["embedding"], None),
    "/api/embed": (lambda prompt, index: {"input": prompt}, lambda reply: reply["embeddings"], None),
    "/tokenize": (lambda prompt, index: {"content": prompt}, lambda reply: reply["tokens"], None),
    "/apply-template": (lambda prompt, index: {"messages": messages(prompt)}, lambda reply: reply["prompt"], None),
    "/v1/messages/count_tokens": (lambda prompt, index: {"messages": messages(prompt)}, lambda reply: reply["input_tokens"], None),
}


def parts(body):
    """The parts of a stream, of events or, in Ollama's way, of lines."""
    lines = (line.removeprefix(b"data: ") for line in body.splitlines())
    return [json.loads(line) for line in lines if line.startswith(b"{")]


class Load:
    def __init__(self, server, texts):
        self.server = server
        self.texts = texts
        self.alone = {route: [self.answer(route, index, streams=False) for index in range(len(texts))] for route in ROUTES}
        self.end = threading.Event()
        self.lock = threading.Lock()
        self.counts = {}
        self.failures = []

    def answer(self, route, index, streams):
        body, whole, part = ROUTES[route]
        stream = {"stream": streams} if part else {}
        status, _, reply = self.server.request("POST", route, body(self.texts[index], index) | stream)
        if status != 200:
            raise RuntimeError(f"{route}: status {status}: {reply[:200]}")
        return "".join(map(part, parts(reply))) if streams else whole(json.loads(reply))

    def count(self, name):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + 1

    def run(self, name, action, generator):
        while not self.end.is_set():
            try:
                action(generator)
                self.count(name)
            except Exception as error:  # noqa: BLE001
                with self.lock:
                    self.failures.append(f"{name}: {error!r}")
                if len(self.failures) > 20:
                    return

    def ask(self, generator):
        """An answer, compared with its own single run."""
        index, route = generator.randrange(len(self.texts)), generator.choice(list(ROUTES))
        streams = ROUTES[route][2] is not None and generator.random() < 0.7
        answer = self.answer(route, index, streams)
        if answer != self.alone[route][index]:
            raise AssertionError(f"{route}, prompt {index}, streams {streams}: {answer!r} instead of {self.alone[route][index]!r}")
        self.count(f"{route} {'streamed' if streams else 'whole'}")

    def open_stream(self, tokens):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        body = json.dumps({"prompt": "Hello", "stream": True, "max_tokens": tokens, "ignore_eos": True})
        connection.request("POST", "/v1/completions", body)
        return connection, connection.getresponse()

    def leave(self, generator):
        """Leaves in the middle of an answer, or before it begins."""
        connection, response = self.open_stream(400)
        if response.status == 200:
            response.read(generator.randint(0, 4000) + 1)
        connection.close()
        time.sleep(0.05)

    def read_slowly(self, generator):
        connection, response = self.open_stream(60)
        if response.status == 200:
            while response.read(generator.randint(100, 1000)) and not self.end.is_set():
                time.sleep(0.05)
        connection.close()

    def send_nonsense(self, generator):
        body = bytearray(json.dumps(fields(generator.choice(self.texts), 0)).encode())
        for _ in range(3):
            body[generator.randrange(len(body))] = generator.randrange(256)
        status, _, reply = self.server.request("POST", generator.choice(list(ROUTES)), bytes(body))
        if status >= 500 or status != 200 and "error" not in json.loads(reply):
            raise AssertionError(f"nonsense got {status} {reply[:200]}")
        time.sleep(0.02)

    def send_too_much(self, generator):
        status, _, _ = self.server.request("POST", "/v1/completions", b" " * (5 << 20))
        if status not in (413, 503):
            raise AssertionError(f"5 MiB got {status}")
        time.sleep(0.5)


def seconds_alone(load):
    """The median time of a request when there is no other."""
    times = []
    for _ in range(15):
        start = time.monotonic()
        load.answer("/v1/completions", 3, streams=False)
        times.append(time.monotonic() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--minimind", default=".build/release/minimind")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("options", nargs="*", help="of minimind serve, behind --")
    arguments = parser.parse_args()

    with Server(arguments.minimind, arguments.model, *arguments.options) as server:
        load = Load(server, prompts(100))
        before = seconds_alone(load)
        actions = [("answers", load.ask)] * arguments.streams + [
            ("disconnect", load.leave)] * 4 + [("slow reader", load.read_slowly)] * 4 + [
            ("malformed", load.send_nonsense)] * 2 + [("oversized", load.send_too_much)]
        threads = [threading.Thread(target=load.run, args=(name, action, random.Random(number)))
                   for number, (name, action) in enumerate(actions)]
        for thread in threads:
            thread.start()
        start, memory = time.monotonic(), []
        while time.monotonic() - start < 60 * arguments.minutes and len(load.failures) <= 20:
            time.sleep(min(5, 3 * arguments.minutes))
            memory.append(server.metric("resident_memory_bytes") / 2**20)
            print(f"{time.monotonic() - start:5.0f} s  {memory[-1]:6.1f} MiB  {load.counts['answers']} answers", flush=True)
        load.end.set()
        for thread in threads:
            thread.join()
        server.wait_until_idle()
        after = seconds_alone(load)
        code = server.stop(signal.SIGTERM)

    early, late = statistics.median(memory[len(memory) // 5:len(memory) // 3 + 1]), statistics.median(memory[-3:])
    for name, count in sorted(load.counts.items()):
        print(f"{count:8} {name}")
    print(f"memory early {early:.1f} MiB, late {late:.1f} MiB; alone {before * 1e3:.1f} ms before, {after * 1e3:.1f} ms after")
    faults = load.failures[:20]
    if late > early * 1.1 + 8:
        faults.append(f"memory grew from {early:.1f} to {late:.1f} MiB")
    if after > before * 1.5 + 0.02:
        faults.append(f"a request alone takes {after * 1e3:.1f} ms, before it took {before * 1e3:.1f}")
    if code != 0:
        faults.append(f"the server ended with code {code}")
    for fault in faults:
        print(f"fault: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
