#!/usr/bin/env python3
"""Races writing and reading: `minimind bench decode` and `bench prefill` against llama.cpp or OpenVINO on the same weights.

    make peers
    .venv-peers/bin/python scripts/bench_inference.py --models small base --races bf16 q8 q4 --pairs 5
    .venv-peers/bin/python scripts/bench_inference.py --models smollm2-135m qwen3-0.6b llama-3.2-1b --pairs 3
    .venv-peers/bin/python scripts/bench_inference.py --models smollm2-135m --races q8 --peer openvino --pairs 3

Models have random weights, which do not matter for speed. llama.cpp reads the GGUF file that `minimind convert` writes:
bf16, or q8_0 for q8. For q4 it gets q4_0, made of the bf16 file by its own quantizer. `decode` writes --decode-tokens one by one,
`prefill` reads 512 at once. OpenVINO reads the same file in q8_0. Memory is the peak of each whole process. The two sides take turns in going first; the median of the pairs' ratios is the result.
Writes bench/inference.json with every figure and bench/inference.md with the table printed here.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_train import REPOSITORY, machine, run

sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
from conftest import peak_memory  # noqa: E402
from random_model import SHAPES, make_model  # noqa: E402

PEERS = {name: REPOSITORY / "scripts/peers" / file for name, file in
         (("llama.cpp", "llama_cpp_rates.py"), ("openvino", "openvino_rates.py"))}


def measure(command):
    """The rate that a command prints, and the most memory that it had, in MiB."""
    with tempfile.TemporaryFile("w+") as written:
        peak = peak_memory(subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=written))
        written.seek(0)
        return {"tokens_per_second": json.loads(written.read().strip().splitlines()[-1])["tokens_per_second"], "peak_mib": peak / 2**20}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = arguments.output / "models"
        self.tokens = {"decode": arguments.decode_tokens, "prefill": 512}

    def model(self, name):
        """The directory of a model with random weights, its vocabulary filled up to 6400 entries."""
        directory = self.folder / name
        if not directory.exists():
            tokenizer = self.folder / "tokenizer"
            if not tokenizer.exists():
                run([self.arguments.binary, "tokenizer", "train", "--input", REPOSITORY / "docs", "--output", tokenizer,
                     "--vocab-size", 2000])
            make_model(directory, tokenizer, shape=name, vocabulary=6400, context=1024, dtype=np.float16)
        return directory

    def file(self, name, type):
        path = self.folder / f"{name}-{type}.gguf"
        if not path.exists():
            run([self.arguments.binary, "convert", "--from", self.model(name), "--to", path, "--type", type])
        return path

    def race(self, name, type, mode):
        threads = self.arguments.threads
        ours = [self.arguments.binary, "bench", mode, "--model", self.model(name), "--type", type, "--tokens", self.tokens[mode],
                "--threads", threads, "--json"]
        theirs = [sys.executable, PEERS[self.arguments.peer], "--model", self.file(name, "q8_0" if type == "q8" else "bf16"), "--mode", mode,
                  "--tokens", self.tokens[mode], "--threads", threads]
        theirs += ["--quantize", "q4_0"] * (type == "q4") + ["--flash-attention"] * self.arguments.flash_attention
        pairs = []
        for index in range(self.arguments.pairs):
            order = (ours, theirs) if index % 2 == 0 else (theirs, ours)
            results = [measure(command) for command in order]
            pairs.append(results if index % 2 == 0 else results[::-1])
            print(f"{name} {type} {mode} {index + 1}/{self.arguments.pairs}: {pairs[-1]}", file=sys.stderr, flush=True)
        return pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["small", "base"], choices=sorted(SHAPES))
    parser.add_argument("--races", nargs="+", default=["bf16", "q8", "q4"], choices=["bf16", "q8", "q4"])
    parser.add_argument("--modes", nargs="+", default=["decode", "prefill"], choices=["decode", "prefill"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--decode-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash-attention", action="store_true", help="llama.cpp's other kernel of attention")
    parser.add_argument("--prepare", action="store_true", help="only makes the models' files")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    parser.add_argument("--peer", choices=PEERS, default="llama.cpp")
    arguments = parser.parse_args()
    if arguments.peer == "openvino" and arguments.races != ["q8"]:
        parser.error("OpenVINO reads q8_0 alone of these: give --races q8")

    bench = Bench(arguments)
    bench.folder.mkdir(parents=True, exist_ok=True)
    if arguments.prepare:
        for name in arguments.models:
            for type in ("bf16", "q8_0"):
                bench.file(name, type)
        return
    host = machine()
    lines = [f"| race | minimind, tokens/s | {arguments.peer} | ratio (median) | ratio (range) | peaks of memory |", "|---|---|---|---|---|---|"]
    record = {}
    for name in arguments.models:
        for mode in arguments.modes:
            for type in arguments.races:
                pairs = bench.race(name, type, mode)
                rates = [[side["tokens_per_second"] for side in pair] for pair in pairs]
                ratios = [ours / theirs for ours, theirs in rates]
                sides = " | ".join(f"{statistics.median(side):.0f}" for side in zip(*rates))
                peaks = " and ".join(f"{statistics.median(pair[side]['peak_mib'] for pair in pairs):.0f} MiB" for side in (0, 1))
                lines.append(f"| `{name}`, {type}, {mode} | {sides} | {statistics.median(ratios):.2f} "
                             f"| {min(ratios):.2f}–{max(ratios):.2f} | {peaks} |")
                record[f"{name} {type} {mode}"] = pairs
    lines += ["", f"{host['processor']}, {arguments.threads} threads, {host['date']}; {arguments.pairs} alternating pairs, medians."]
    (arguments.output / "inference.json").write_text(json.dumps({"machine": host, "races": record}, indent=1) + "\n")
    (arguments.output / "inference.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
