#!/usr/bin/env python3
"""Races `minimind bench train` against PyTorch, alternating, and prints the ratio of each pair.

    make bench
    .venv-interop/bin/python scripts/bench_train.py --model small --precision bf16 fp32 --pairs 3
    .venv-interop/bin/python scripts/bench_train.py --data my-data

For `--model moe` PyTorch runs compiled and eager, with the quickest way of computing experts that transformers has on a
CPU, and the quicker of the two counts. With --data both train on documents of that length: ours packed as prepared, PyTorch's padded to 512 tokens each, as
MiniMind v1 does; the rates count real tokens only.

The two run one after the other on the same cores, so that what slows the machine slows both; the median of the ratios
is the result. Writes bench/train-MODEL.json with every figure and bench/train-MODEL.md with the table printed here.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PEER = REPOSITORY / "scripts/peers/pytorch_train.py"


def run_json(command):
    """The JSON object that a command prints last on standard output."""
    completed = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if completed.returncode != 0:
        sys.exit(f"bench_train.py: {' '.join(map(str, command))} ended with exit code {completed.returncode}.")
    return json.loads(completed.stdout.strip().splitlines()[-1])


def machine():
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return {"processor": name, "cores": os.cpu_count(), "system": platform.platform(), "date": date.today().isoformat()}


def race(arguments, precision):
    """The pairs of one precision: a list of (ours, theirs)."""
    ours = [arguments.binary, "bench", "train", "--model", arguments.model, "--precision", precision, "--json"]
    ours += ["--batch-tokens", str(512 * arguments.batch)]
    theirs = [sys.executable, PEER, "--model", arguments.model, "--precision", precision, "--json"]
    theirs += ["--batch", str(arguments.batch)]
    if arguments.data:
        ours += ["--data", arguments.data]
        theirs += ["--useful-length", str(mean_document_length(arguments))]
    if arguments.eager:
        theirs.append("--eager")
    if arguments.threads:
        ours += ["--threads", str(arguments.threads)]
        theirs += ["--threads", str(arguments.threads)]
    rivals = [theirs]
    if arguments.model == "moe":
        theirs += ["--experts", "eager"]
        if not arguments.eager:
            rivals.append([*theirs, "--eager"])
    pairs = []
    for index in range(arguments.pairs):
        # Alternate who goes first: heat and background work then favour neither.
        order = ([ours], rivals) if index % 2 == 0 else (rivals, [ours])
        results = [
            max((run_json(list(map(str, command))) for command in side), key=lambda result: result["tokens_per_second"])
            for side in order]
        pair = tuple(results if index % 2 == 0 else reversed(results))
        pairs.append(pair)
        print(
            f"{arguments.model} {precision} pair {index + 1}/{arguments.pairs}: minimind "
            f"{pair[0]['tokens_per_second']:.0f} tokens/s, PyTorch {pair[1]['tokens_per_second']:.0f} tokens/s, "
            f"ratio {ratio(pair):.2f}", file=sys.stderr, flush=True)
    return pairs


def mean_document_length(arguments):
    """Tokens that a model reads of a document: all but the last, which is only predicted."""
    totals = run_json([arguments.binary, "data", "inspect", arguments.data, "--samples", "0", "--json"])["manifest"]["training"]
    return round(totals["tokens"] / totals["documents"]) - 1


def ratio(pair):
    return pair[0]["tokens_per_second"] / pair[1]["tokens_per_second"]


def table(model, races):
    """A Markdown table, a row a precision: medians over the pairs, and the ratio of each pair."""
    lines = [
        "| model | precision | minimind tokens/s | PyTorch tokens/s | ratio (median) | ratio (range) | minimind peak | PyTorch peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for precision, pairs in races.items():
        ratios = [ratio(pair) for pair in pairs]

        def median(side, key):
            return statistics.median(pair[side][key] for pair in pairs)

        lines.append(
            f"| {model} | {precision} | {median(0, 'tokens_per_second'):.0f} | {median(1, 'tokens_per_second'):.0f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} "
            f"| {median(0, 'peak_memory_bytes') / 2**20:.0f} MiB | {median(1, 'peak_memory_bytes') / 2**20:.0f} MiB |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", choices=["small", "base", "moe"])
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=["bf16", "fp32"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="sequences of 512 tokens in an optimizer step, on both sides")
    parser.add_argument("--threads", type=int, default=0, help="default: every core")
    parser.add_argument("--data", help="prepared data with short documents, instead of full sequences")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()

    races = {precision: race(arguments, precision) for precision in arguments.precision}
    host = machine()
    versions = next(iter(races.values()))[0][1]
    lines = table(arguments.model, races)
    lines += ["", f"{host['processor']}, {host['cores']} cores, {host['date']}; PyTorch {versions['torch']}"
              f"{' with torch.compile' if versions['compiled'] else ''}, {arguments.pairs} alternating pairs, medians."]
    arguments.output.mkdir(exist_ok=True)
    name = f"train-{arguments.model}{'-documents' if arguments.data else ''}"
    (arguments.output / f"{name}.json").write_text(json.dumps({"machine": host, "races": races}, indent=1) + "\n")
    (arguments.output / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
