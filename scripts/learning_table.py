#!/usr/bin/env python3
"""Measures the runs of scripts/learning.sh, prints them as Markdown, and draws the share of right answers among those that each run
has written, by step, into learning.svg. Standard library only.

    scripts/learning_table.py runs/learning
"""

import json
import os
import subprocess
import sys
from pathlib import Path

MINIMIND = os.environ.get("MINIMIND", ".build/release/minimind")
THREADS = ["--threads", os.environ["THREADS"]] if os.environ.get("THREADS") else []
KINDS = ["addition", "letters", "calls"]
COLORS = {"grpo": ["#1f6fb4", "#5a9bd4", "#0b3d66"], "v1": ["#d9541e", "#ef8f66", "#8f3210"]}
NAMES = {"grpo": "whether they are right", "v1": "MiniMind's rewards"}


def evaluate(*arguments):
    command = [MINIMIND, "eval", *map(str, arguments), *THREADS, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measure(runs, name):
    """A row of the table: the share of right answers to held-out tasks by kind, bits/byte of the held-out text, minutes."""
    tasks = evaluate("tasks", "--model", runs / name, "--data", runs / "tasks/held-out.jsonl", "--max-tokens", 48)["tasks"]
    text = evaluate("perplexity", "--model", runs / name, "--input", runs / "text/heldout.jsonl")
    seconds, before = 0, 0
    for row in steps(runs / name):
        seconds += (row["train/tokens"] - before) / row["train/tokens_per_second"]
        before = row["train/tokens"]
    shares = [f"{100 * tasks[kind]['accuracy']:.1f}%" for kind in KINDS]
    return [name, *shares, f"{text['bits_per_byte']:.3f}", f"{seconds / 60:.1f}"]


def steps(run):
    with open(run / "metrics.jsonl", encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if "train/loss" in row]


def smoothed(values, radius=3):
    means = []
    for index in range(len(values)):
        reach = min(radius, index, len(values) - 1 - index)
        near = values[index - reach : index + reach + 1]
        means.append(sum(near) / len(near))
    return means


def picture(curves):
    """An SVG of curves, each the stem of a run's name, its number among those, and its values by step."""
    width, height, left, right, top, bottom = 720, 380, 60, 700, 60, 330
    last = max(len(values) for _, _, values in curves)
    x = lambda step: left + (right - left) * step / last
    y = lambda share: bottom - (bottom - top) * share
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{left}" y="24" font-size="16" font-weight="600" fill="#1b1f24">Right answers, by what is rewarded</text>',
    ]
    for number, stem in enumerate(dict.fromkeys(stem for stem, _, _ in curves)):
        place = left + 220 * number
        parts.append(f'<line x1="{place}" y1="42" x2="{place + 22}" y2="42" stroke="{COLORS[stem][0]}" stroke-width="3"/>')
        parts.append(f'<text x="{place + 28}" y="46" fill="#444c56">{NAMES[stem]}</text>')
    for percent in range(0, 101, 20):
        parts.append(f'<line x1="{left}" y1="{y(percent / 100):.1f}" x2="{right}" y2="{y(percent / 100):.1f}" stroke="#e4e8ec"/>')
        parts.append(f'<text x="{left - 8}" y="{y(percent / 100):.1f}" dy="4" text-anchor="end" fill="#444c56">{percent}%</text>')
    for step in range(0, last + 1, 20):
        parts.append(f'<text x="{x(step):.1f}" y="{bottom + 20}" text-anchor="middle" fill="#444c56">{step}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 10}" text-anchor="middle" fill="#444c56">optimizer step</text>')
    for stem, number, values in curves:
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(smoothed(values), start=1))
        color = COLORS[stem][number % len(COLORS[stem])]
        parts.append(f'<polyline fill="none" stroke-linejoin="round" stroke="{color}" stroke-width="2" points="{points}"/>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    runs = Path(sys.argv[1])
    stems = {stem: sorted(run.name for run in runs.glob(f"{stem}-[0-9]*")) for stem in ("sft", "grpo", "v1")}
    print("| run | " + " | ".join(KINDS) + " | text, bits/byte | minutes |\n|" + "---|" * (len(KINDS) + 3))
    for name in sum(stems.values(), []):
        print("| " + " | ".join(measure(runs, name)) + " |", flush=True)
    curves = [
        (stem, number, [row["train/rewards/check/mean"] for row in steps(runs / name)])
        for stem in ("grpo", "v1")
        for number, name in enumerate(stems[stem])
    ]
    if curves:
        (runs / "learning.svg").write_text(picture(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
