#!/usr/bin/env python3
"""Races `minimind bench tokenizer` against tiktoken, `tokenizers` and rustbpe on one thread, alternating.

    make bench
    .venv-interop/bin/python scripts/bench_tokenizer.py --input runs/text-large/train.jsonl --pairs 5
    .venv-interop/bin/python scripts/bench_tokenizer.py --split llama3

Both sides work on the documents of the same file, with the vocabulary of 6400 entries that ours learns from it first, words cut as --split says.
They run one after the other and take turns in going first; the median of the pairs' ratios is the result. Without
--input the text is the large set of scripts/extract_corpora.py, fetched when it is not there yet. Writes
bench/tokenizer.json with every figure and bench/tokenizer.md with the table printed here.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from bench_train import REPOSITORY, TEXT, fetch_text, machine, run, run_json

PEER = REPOSITORY / "scripts/peers/tokenizer_rates.py"


def race(arguments, tokenizer):
    """The pairs: a list of (ours, theirs)."""
    same = ["--tokenizer", tokenizer, "--input", arguments.input]
    ours = [arguments.binary, "bench", "tokenizer", *same, "--threads", 1, "--json"]
    theirs = [sys.executable, PEER, *same]
    pairs = []
    for index in range(arguments.pairs):
        order = (ours, theirs) if index % 2 == 0 else (theirs, ours)
        results = [run_json(command) for command in order]
        pairs.append(tuple(results if index % 2 == 0 else reversed(results)))
        print(f"tokenizer pair {index + 1}/{arguments.pairs} done", file=sys.stderr, flush=True)
    return pairs


def table(pairs):
    """A Markdown table, a row a rival: medians over the pairs, and the ratio of each pair (above 1: ours is faster)."""
    lines = ["| one thread | minimind | rival | ratio (median) | ratio (range) |", "|---|---|---|---|---|"]

    def row(name, rival, our_key, their_key, unit, faster):
        ratios = [faster(ours[our_key], theirs[their_key]) for ours, theirs in pairs]
        our_figure, their_figure = (statistics.median(pair[side][key] for pair in pairs) for side, key in ((0, our_key), (1, their_key)))
        lines.append(
            f"| {name}, {rival} {pairs[0][1]['versions'][rival]} | {unit(our_figure)} | {unit(their_figure)} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} |")

    for rival in ("tiktoken", "tokenizers"):
        row("encode", rival, "encode_bytes_per_second", f"{rival}_encode_bytes_per_second",
            lambda rate: f"{rate / 2**20:.1f} MiB/s", lambda ours, theirs: ours / theirs)
    for rival in ("rustbpe", "tokenizers"):
        row("train", rival, "train_seconds", f"{rival}_train_seconds",
            lambda seconds: f"{seconds:.2f} s", lambda ours, theirs: theirs / ours)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=TEXT / "train.jsonl", help="{\"text\": …} a line")
    parser.add_argument("--split", default="gpt2", choices=["gpt2", "qwen2", "llama3"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()

    if arguments.input == TEXT / "train.jsonl":
        fetch_text()
    arguments.output.mkdir(exist_ok=True)
    tokenizer = arguments.output / "tokenizer"
    run([arguments.binary, "tokenizer", "train", "--input", arguments.input, "--output", tokenizer, "--split", arguments.split])
    pairs = race(arguments, tokenizer)
    host = machine()
    size = pairs[0][0]["bytes"]
    lines = table(pairs)
    lines += ["", f"{host['processor']}, {host['date']}; {size / 2**20:.1f} MiB of {arguments.input.name}, "
              f"vocabulary {pairs[0][0]['vocabulary_size']}, split {arguments.split}, {arguments.pairs} alternating pairs, medians."]
    (arguments.output / "tokenizer.json").write_text(json.dumps({"machine": host, "pairs": pairs}, indent=1) + "\n")
    (arguments.output / "tokenizer.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
