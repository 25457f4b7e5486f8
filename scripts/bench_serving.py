#!/usr/bin/env python3
"""Races `minimind serve` against llama.cpp's own `llama-server` (`make peers`): the same weights, the same requests, in turns.

    .venv-peers/bin/python scripts/bench_serving.py --model my-chat [--type q8] [--streams 1 8 32] [--rounds 3]

Both answer as many requests side by side as there are streams (continuous batching). Prints, for each number of streams, the
median of each server's tokens a second over all streams, and the median and the 99th percentile of the time to the first
token; at the end the most memory that each has had.
"""

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LLAMA_SERVER = REPOSITORY / ".venv-peers/llama.cpp/build/bin/llama-server"
sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
from conftest import memory_so_far, wait_until  # noqa: E402
from serving import Server  # noqa: E402

TOKENS = 64
#: Of a conversation: as much as `small` reads.
CONTEXT = 512
#: Our types, and what the same weights are called in a GGUF file.
TYPES = ["fp32", "bf16", "q8"]


def stream(port, number, first_token_times, tokens):
    """Reads one answer of TOKENS tokens; the end token is forbidden, so that all have the same length."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    body = {"model": "m", "prompt": f"{number} questions and their answers, which begin", "max_tokens": TOKENS,
            "temperature": 1.0, "seed": number, "stream": True, "logit_bias": {"2": -100}}
    start = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    count = 0
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        choice = json.loads(line[6:])["choices"][0]
        if count == 0:
            first_token_times.append(time.monotonic() - start)
        count += choice["finish_reason"] is None
    tokens.append(TOKENS)
    connection.close()
    assert count > TOKENS // 4, f"an answer of {count} pieces"


def race(port, streams):
    """Tokens a second of all streams together, and the times to the first token."""
    times, tokens = [], []
    threads = [threading.Thread(target=stream, args=(port, number, times, tokens)) for number in range(streams)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    assert len(tokens) == streams, "a stream failed"
    return sum(tokens) / seconds, times


def is_ready(port):
    """Whether the server has loaded its model."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--type", choices=TYPES, default="q8")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minimind", default=str(REPOSITORY / ".build/release/minimind"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gguf, port = Path(folder) / "model.gguf", free_port()
        subprocess.run([arguments.minimind, "convert", "--from", arguments.model, "--to", gguf, "--type",
                        arguments.type], check=True, stdout=subprocess.DEVNULL)
        slots = max(arguments.streams)
        theirs = subprocess.Popen(
            [LLAMA_SERVER, "--model", gguf, "--port", str(port), "--threads", str(arguments.threads), "--parallel", str(slots),
             "--ctx-size", str(slots * CONTEXT), "--no-ui", "--offline"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with Server(arguments.minimind, arguments.model, "--type", arguments.type, "--threads",
                        arguments.threads) as ours:
                servers = {"minimind": ours.port, "llama.cpp": port}
                wait_until(lambda: is_ready(port), "llama-server does not answer", theirs)
                for streams in arguments.streams:
                    rates, times = {name: [] for name in servers}, {name: [] for name in servers}
                    for turn in range(arguments.rounds + 1):
                        for name in servers:
                            rate, first = race(servers[name], streams)
                            if turn > 0:  # the first one warms up
                                rates[name].append(rate)
                                times[name] += first
                    for name in servers:
                        first = sorted(times[name])
                        print(f"{streams:3} streams, {arguments.type}, {name:9}: "
                              f"{statistics.median(rates[name]):7.0f} tokens/s, first token "
                              f"{statistics.median(first) * 1e3:6.0f} ms, "
                              f"99% {first[int(0.99 * (len(first) - 1))] * 1e3:6.0f} ms", flush=True)
                    print(f"{streams:3} streams, {arguments.type}, ratio: "
                          f"{statistics.median(rates['minimind']) / statistics.median(rates['llama.cpp']):.2f}", flush=True)
                peaks = [memory_so_far(process.pid) / 2**20 for process in (ours.process, theirs)]
                print(f"most memory: minimind {peaks[0]:.0f} MiB, llama.cpp {peaks[1]:.0f} MiB, {peaks[0] / peaks[1]:.2f}")
        finally:
            theirs.terminate()
            theirs.wait()


if __name__ == "__main__":
    main()
