#!/usr/bin/env python3
"""Races fine-tuning with an adapter: `minimind lora` against transformers and peft with torch.compile, on the same model,
the same 1000 conversations and about as many tokens a step.

    make bench
    .venv-interop/bin/python scripts/bench_lora.py --pairs 3

The model has the shape of SmolLM2-135M and random weights, which do not matter for speed; the conversations are made of this
repository's documents. Both sides adapt every linear layer with rank 8. The peer's conversations are padded to the
longest of a step, as transformers does; only real tokens count. The two sides take turns in going first; the median of the pairs'
ratios is the result. Writes bench/lora.json with every figure and bench/lora.md with the table printed here.
"""

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_train import REPOSITORY, machine, run, run_json

sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
from random_model import make_model  # noqa: E402

PEER = REPOSITORY / "scripts/peers/peft_train.py"
UNCOUNTED_STEPS = 2


def write_conversations(path, count=1000):
    """Questions of a few words and answers of a paragraph."""
    pages = [page.read_text(encoding="utf-8") for page in sorted(REPOSITORY.glob("docs/**/*.md"))]
    paragraphs = [re.sub(r"\s+", " ", part) for page in pages for part in page.split("\n\n") if 40 < len(part) < 900]
    chosen = random.Random(1).choices(paragraphs, k=count)
    rows = [{"messages": [{"role": "user", "content": f"What follows “{text[:40]}”?"}, {"role": "assistant", "content": text}]}
            for text in chosen]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


class Bench:
    def __init__(self, arguments):
        self.arguments, self.binary, self.folder = arguments, arguments.binary, arguments.output / "lora"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model, self.rows, self.data = (self.folder / name for name in ("model", "rows.jsonl", "data"))
        if not self.model.exists():
            write_conversations(self.rows)
            run([self.binary, "tokenizer", "train", "--input", REPOSITORY / "docs", "--output", self.folder / "tokenizer",
                 "--vocab-size", 2000])
            make_model(self.model, self.folder / "tokenizer", shape="smollm2-135m", context=2048, dtype=np.float16)
            run([self.binary, "data", "sft", "--input", self.rows, "--tokenizer", self.model, "--output", self.data])
        training = run_json([self.binary, "data", "inspect", self.data, "--samples", 0, "--json"])["manifest"]["training"]
        self.batch_tokens = arguments.batch * training["tokens"] // training["documents"]

    def ours(self):
        with tempfile.TemporaryDirectory() as folder:
            run([self.binary, "lora", "--from", self.model, "--data", self.data, "--output", f"{folder}/run", "--precision",
                 self.arguments.precision, "--steps", self.arguments.steps + UNCOUNTED_STEPS, "--batch-tokens", self.batch_tokens,
                 "--micro-batch-tokens", self.batch_tokens, "--lora-dropout", 0, "--eval-tokens", 64,
                 "--sequence-length", 512])
            lines = [json.loads(line) for line in Path(folder, "run/metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "train/tokens_per_second" in line]
        rates = [step["train/tokens_per_second"] for step in steps[UNCOUNTED_STEPS:]]
        return {"tokens_per_second": statistics.median(rates), "peak_memory_bytes": steps[-1]["train/peak_memory_bytes"]}

    def theirs(self):
        return run_json([sys.executable, PEER, "--model", self.model, "--data", self.rows, "--precision", self.arguments.precision,
                         "--batch", self.arguments.batch, "--steps", self.arguments.steps] + ["--eager"] * self.arguments.eager)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8, help="conversations of a step")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    pairs = []
    for index in range(arguments.pairs):
        order = (bench.ours, bench.theirs) if index % 2 == 0 else (bench.theirs, bench.ours)
        results = [side() for side in order]
        pairs.append(results if index % 2 == 0 else results[::-1])
        print(f"lora {index + 1}/{arguments.pairs}: {pairs[-1]}", file=sys.stderr, flush=True)
    ratios = [ours["tokens_per_second"] / theirs["tokens_per_second"] for ours, theirs in pairs]

    def median(side, key):
        return statistics.median(pair[side][key] for pair in pairs)

    host = machine()
    memory = [median(side, "peak_memory_bytes") / 2**20 for side in (0, 1)]
    rates = [median(side, "tokens_per_second") for side in (0, 1)]
    lines = [
        "| race | minimind, tokens/s | transformers and peft | ratio (median) | ratio (range) | peaks of memory |", "|---|---|---|---|---|---|",
        f"| LoRA of 135 M, {arguments.precision} | {rates[0]:.0f} | {rates[1]:.0f} | {statistics.median(ratios):.2f} "
        f"| {min(ratios):.2f}–{max(ratios):.2f} | {memory[0]:.0f} and {memory[1]:.0f} MiB |", "",
        f"{host['processor']}, {host['cores']} cores, {host['date']}; PyTorch {pairs[0][1]['torch']}"
        f"{'' if arguments.eager else ' with torch.compile'}; {arguments.batch} conversations a step, {arguments.pairs} alternating pairs, medians."]
    (arguments.output / "lora.json").write_text(json.dumps({"machine": host, "pairs": pairs}, indent=1) + "\n")
    (arguments.output / "lora.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
