#!/usr/bin/env python3
"""Races `minimind serve` against llama.cpp's own `llama-server` (`make peers`): the same weights, the same requests, in turns.

    .venv-peers/bin/python scripts/bench_serving.py --model my-chat [--type q8] [--streams 1 8 32] [--rounds 3]
    .venv/bin/python scripts/bench_serving.py --model my-chat --schema --streams 32 --rounds 7

Both answer as many requests side by side as there are streams (continuous batching). Prints, for each number of streams, the
median of each server's tokens a second over all streams, the median and the 99th percentile of the time to the first token, and
the median of the rounds' ratios; at the end the most memory that each has had. The client reads 16 KiB at a time and looks for
the first and the last piece of an answer only, since it shares the processor. With `--schema`, the rivals are answers in chat that
keep to a JSON Schema and answers that do not, both of `minimind serve`.
"""

import argparse
import http.client
import json
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LLAMA_SERVER = REPOSITORY / ".venv-peers/llama.cpp/build/bin/llama-server"
sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
from conftest import memory_so_far, wait_until  # noqa: E402
from serving import Server  # noqa: E402

#: Of a conversation: as much as `small` reads.
CONTEXT = 512
#: Our types, and what the same weights are called in a GGUF file.
TYPES = ["fp32", "bf16", "q8"]
#: No answer comes to its end.
SCHEMA = {"type": "array", "minItems": 10_000, "items": {
    "type": "object", "required": ["name", "age"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "additionalProperties": False}}


def request(port, number, tokens, schema):
    """One HTTP request as it goes over the wire. The end token is forbidden, so that all answers have the same length."""
    prompt = f"{number} questions and their answers, which begin"
    body = {"model": "m", "max_tokens": tokens, "temperature": 1.0, "seed": number, "stream": True, "logit_bias": {"2": -100}}
    path = "/v1/completions"
    if schema is None:
        body["prompt"] = prompt
    else:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": prompt}]
        if schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "list", "strict": True, "schema": schema}}
    text = json.dumps(body)
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}").encode()


def race(port, schema, streams, tokens):
    """Tokens a second of all streams together, and the times to the first token.

    `schema` is None for a completion, {} for an answer in chat, and else what the answer in chat keeps to."""
    times, pieces, tails = [], [0] * streams, [b""] * streams
    first = 1 if schema is None else 2  # before an answer in chat comes its role
    selector = selectors.DefaultSelector()
    start = time.monotonic()
    for number in range(streams):
        connection = socket.create_connection(("127.0.0.1", port), timeout=300)
        connection.sendall(request(port, number, tokens, schema))
        selector.register(connection, selectors.EVENT_READ, number)
    while selector.get_map():
        for key, _ in selector.select(300):
            number, data = key.data, key.fileobj.recv(1 << 16)
            found = data.count(b"data: {")
            if pieces[number] < first <= pieces[number] + found:
                times.append(time.monotonic() - start)
                # From here on it is woken for many pieces at once: it shares the processor with who answers.
                key.fileobj.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 << 14)
            pieces[number] += found
            tails[number] = (tails[number] + data)[-4096:]
            if not data:
                assert b'"length"' in tails[number] and b"[DONE]" in tails[number], f"stream {number}: {tails[number]}"
                selector.unregister(key.fileobj)
                key.fileobj.close()
    seconds = time.monotonic() - start
    assert min(pieces) > tokens // 4, f"an answer of {min(pieces)} pieces"
    return streams * tokens / seconds, times


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


def rest(processes):
    """Waits until no server computes: threads of llama-server go on a while after an answer, at the cost of who comes next."""
    def spent():
        return [Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13] for process in processes]

    before = None
    while before != (before := spent()):
        time.sleep(0.1)


def compare(sides, streams, arguments, processes):
    """Prints what two sides, each a name and the arguments of `race`, get in turns, and the ratio of the first to the second."""
    rates, times = {name: [] for name in sides}, {name: [] for name in sides}
    for turn in range(arguments.rounds + 1):
        for name in sides if turn % 2 == 0 else reversed(sides):
            rest(processes)
            rate, first = race(*sides[name], streams=streams, tokens=arguments.tokens)
            if turn > 0:  # the first one warms up
                rates[name].append(rate)
                times[name] += first
    for name in sides:
        first = sorted(times[name])
        print(f"{streams:3} streams, {arguments.type}, {name:14}: {statistics.median(rates[name]):7.0f} tokens/s, first token "
              f"{statistics.median(first) * 1e3:6.0f} ms, 99% {first[int(0.99 * (len(first) - 1))] * 1e3:6.0f} ms", flush=True)
    ratios = [ours / theirs for ours, theirs in zip(*rates.values())]
    print(f"{streams:3} streams, {arguments.type}, ratio: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
          flush=True)


def compare_with_llama(ours, arguments):
    with tempfile.TemporaryDirectory() as folder:
        gguf, port, slots = Path(folder) / "model.gguf", free_port(), max(arguments.streams)
        subprocess.run([arguments.minimind, "convert", "--from", arguments.model, "--to", gguf, "--type",
                        arguments.type], check=True, stdout=subprocess.DEVNULL)
        theirs = subprocess.Popen(
            [LLAMA_SERVER, "--model", gguf, "--port", str(port), "--threads", str(arguments.threads), "--parallel", str(slots),
             "--ctx-size", str(slots * CONTEXT), "--no-ui", "--offline"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: is_ready(port), "llama-server does not answer", theirs)
            for streams in arguments.streams:
                compare({"minimind": (ours.port, None), "llama.cpp": (port, None)}, streams, arguments,
                        (ours.process, theirs))
            peaks = [memory_so_far(process.pid) / 2**20 for process in (ours.process, theirs)]
            print(f"most memory: minimind {peaks[0]:.0f} MiB, llama.cpp {peaks[1]:.0f} MiB, {peaks[0] / peaks[1]:.2f}")
        finally:
            theirs.terminate()
            theirs.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--type", choices=TYPES, default="q8")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=288, help="of each answer, about half of what the context holds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--schema", action="store_true", help="what keeping to a JSON Schema costs, without llama.cpp")
    parser.add_argument("--minimind", default=str(REPOSITORY / ".build/release/minimind"))
    arguments = parser.parse_args()
    with Server(arguments.minimind, arguments.model, "--type", arguments.type, "--threads", arguments.threads,
                "--context", CONTEXT) as ours:
        if not arguments.schema:
            return compare_with_llama(ours, arguments)
        for streams in arguments.streams:
            compare({"with schema": (ours.port, SCHEMA), "without schema": (ours.port, {})}, streams, arguments,
                    (ours.process,))


if __name__ == "__main__":
    main()
