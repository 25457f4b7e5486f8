#!/usr/bin/env python3
"""Measures the runs of scripts/stages.sh and prints them as Markdown. Standard library only.

    scripts/stages_table.py runs/stages
"""

import json
import os
import subprocess
import sys
from pathlib import Path

MINIMIND = os.environ.get("MINIMIND", ".build/release/minimind")
STAGES = ["pretrain", "sft", "lora", "dpo", "dpo-lora"]
QUESTIONS = ["Hello, my name is Anna.", "你是谁？", "What does “candle” mean?"]


def run(*arguments, text=None):
    return subprocess.run([MINIMIND, *map(str, arguments)], input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def perplexity(model, *source):
    return json.loads(run("eval", "perplexity", "--model", model, *source, "--json"))


def metrics(directory):
    with open(directory / "metrics.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def last(rows, key):
    return next((row[key] for row in reversed(rows) if key in row), None)


def table(header, rows):
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join("" if cell is None else cell if isinstance(cell, str) else f"{cell:.3f}" for cell in row) + " |")
    print()


def main():
    runs = Path(sys.argv[1])
    names = [f"{model}-{stage}" for model in ("tiny", "mixture") for stage in STAGES if (runs / f"{model}-{stage}").exists()]
    rows = []
    for name in names:
        history = metrics(runs / name)
        text = perplexity(runs / name, "--input", runs / "text/heldout.jsonl")
        answers = perplexity(runs / name, "--data", runs / "sft-data")
        rows.append([
            name, text["bits_per_byte"], answers["loss"],
            last(history, "eval/rewards/accuracies"), last(history, "eval/rewards/margins")])
    table(["run", "text, bits/byte", "answers, nats/token", "reward accuracy", "reward margin"], rows)
    answers = []
    for name in names:
        row = [f"`{name}`"]
        for question in QUESTIONS:
            reply = run("chat", "--model", runs / name, "--temperature", 0, "--max-tokens", 40, text=question + "\n")
            row.append(" ".join(reply.split()).replace("|", "\\|"))
        answers.append(row)
    table(["run", *QUESTIONS], answers)


if __name__ == "__main__":
    main()
