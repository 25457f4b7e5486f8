#!/usr/bin/env python3
"""Races learning from own answers: a step of `minimind grpo` against trl's GRPOTrainer with transformers, and the tokens a second
of its answers against those of `minimind serve` with as many streams.

    .venv-interop/bin/python scripts/bench_grpo.py --pairs 3
    .venv-interop/bin/python scripts/bench_grpo.py --model tiny --prompts 4 --tokens 16 --pairs 1    # only to see it work

Both sides begin with the same model, of random weights but for a step of pretraining, so that hardly any answer ends by itself,
and take the same prompts, answers, tokens, loss (dapo) and optimizer, in bf16: trl by autocast, the trainer's own setting. A step
is the writing of --prompts × --answers answers, their rewards and one update; the first steps are not counted. The sides take turns in
going first; the result is the median of the pairs' ratios. Memory is the most that each process has had. Writes
bench/grpo.json.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
sys.path.insert(0, str(REPOSITORY / "scripts"))
from bench_serving import race  # noqa: E402
from bench_train import machine  # noqa: E402
from conftest import peak_memory  # noqa: E402
from serving import Server  # noqa: E402

PEER = REPOSITORY / "scripts/peers/trl_grpo.py"
UNCOUNTED_STEPS = 1
#: The most answers that the engine writes at the same time, in a run as in the server.
SEQUENCES = 128


def prepare(arguments, folder):
    """A model that both sides read, and prompts for each."""
    minimind = arguments.minimind

    def run(*command):
        subprocess.run([minimind, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("data", "tasks", "--tasks", "addition", "letters", "--language", "en", "--count", 1000, "--output", folder / "tasks")
    rows = [json.loads(line) for line in (folder / "tasks/train.jsonl").read_text().splitlines()]
    (folder / "text.txt").write_text("\n".join(" ".join(m["content"] for m in row["messages"]) for row in rows))
    run("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "tokenizer", "--vocab-size", 6400)
    run("data", "pretrain", "--input", folder / "text.txt", "--tokenizer", folder / "tokenizer", "--output", folder / "text")
    run("data", "grpo", "--input", folder / "tasks/train.jsonl", "--tokenizer", folder / "tokenizer", "--held-out", 0,
        "--output", folder / "prompts")
    run("pretrain", "--model", arguments.model, "--data", folder / "text", "--output", folder / "model", "--steps", 1,
        "--learning-rate", 1e-9)
    prompts = [{"prompt": f"<s>user\n{row['messages'][0]['content']}</s>\n<s>assistant\n"} for row in rows]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))


def ours(arguments, folder, number):
    """Seconds of a step, seconds of writing in it, tokens of an answer, and the most memory."""
    run = folder / f"run-{number}"
    process = subprocess.Popen(
        [arguments.minimind, "grpo", "--from", folder / "model", "--data", folder / "prompts", "--output", run, "--steps",
         str(arguments.steps + UNCOUNTED_STEPS), "--prompts-per-step", str(arguments.prompts), "--answers", str(arguments.answers),
         "--answer-tokens", str(arguments.tokens), "--learning-rate", "1e-6", "--reward", "repetition", "--threads",
         str(arguments.threads)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    memory = peak_memory(process)
    text = process.stdout.read()
    shares = {name: float(value) for name, value in re.findall(r"(passes|optimizer|data) ([0-9.]+)%", text)}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "train/loss" in row]
    before = [0] + [row["train/tokens"] for row in rows]
    seconds = [(row["train/tokens"] - tokens) / row["train/tokens_per_second"] for row, tokens in zip(rows, before)]
    return {"seconds": statistics.median(seconds[UNCOUNTED_STEPS:]),
            "writing_seconds": statistics.median(seconds[UNCOUNTED_STEPS:]) * shares["data"] / sum(shares.values()),
            "answer_tokens": statistics.mean(row["train/completions/mean_length"] for row in rows), "peak_memory_bytes": memory}


def theirs(arguments, folder):
    process = subprocess.Popen(
        [sys.executable, PEER, "--model", folder / "model/model", "--prompts", folder / "prompts.jsonl", "--steps",
         str(arguments.steps + UNCOUNTED_STEPS), "--uncounted", str(UNCOUNTED_STEPS), "--prompts-per-step", str(arguments.prompts),
         "--answers", str(arguments.answers), "--tokens", str(arguments.tokens), "--threads", str(arguments.threads)],
        stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    memory = peak_memory(process)
    return json.loads(process.stdout.read().strip().splitlines()[-1]) | {"peak_memory_bytes": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--steps", type=int, default=2, help="that are counted")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minimind", default=str(REPOSITORY / ".build/release/minimind"))
    arguments = parser.parse_args()
    streams = arguments.prompts * arguments.answers
    pairs, served = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(arguments, folder)
        for number in range(arguments.pairs):
            if number % 2 == 0:
                mine = ours(arguments, folder, number)
            other = theirs(arguments, folder)
            if number % 2 == 1:
                mine = ours(arguments, folder, number)
            pairs.append((mine, other))
            # The server's own answers, all at once, with weights of the same type.
            with Server(arguments.minimind, folder / "model", "--type", "bf16", "--threads", arguments.threads, "--parallel",
                        min(streams, SEQUENCES), "--queue", streams) as server:
                race(server.port, None, streams, arguments.tokens)
                served.append(race(server.port, None, streams, arguments.tokens)[0])
            print(f"pair {number + 1}/{arguments.pairs}: {other['seconds'] / mine['seconds']:.2f}", file=sys.stderr, flush=True)

    def median(side, key):
        return statistics.median(pair[side][key] for pair in pairs)

    ratios = [other["seconds"] / mine["seconds"] for mine, other in pairs]
    memory = [mine["peak_memory_bytes"] / other["peak_memory_bytes"] for mine, other in pairs]
    written = [streams * mine["answer_tokens"] / mine["writing_seconds"] for mine, _ in pairs]
    shares = [rate / other for rate, other in zip(written, served)]
    print(f"a step of {arguments.prompts} prompts × {arguments.answers} answers × {arguments.tokens} tokens, {arguments.model}: minimind "
          f"{median(0, 'seconds'):.2f} s, trl {median(1, 'seconds'):.2f} s, {statistics.median(ratios):.2f} times as quick "
          f"({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"tokens of an answer: minimind {median(0, 'answer_tokens'):.1f}, trl {median(1, 'answer_tokens'):.1f}")
    print(f"most memory: minimind {median(0, 'peak_memory_bytes') / 2**20:.0f} MiB, trl {median(1, 'peak_memory_bytes') / 2**20:.0f} "
          f"MiB, {statistics.median(memory):.2f}")
    print(f"answers: {statistics.median(written):.0f} tokens/s in the run, {statistics.median(served):.0f} by serve, "
          f"{statistics.median(shares):.2f}")
    folder = REPOSITORY / "bench"
    folder.mkdir(exist_ok=True)
    (folder / "grpo.json").write_text(json.dumps(
        {"machine": machine(), "arguments": vars(arguments), "pairs": pairs, "served": served}, indent=1))


if __name__ == "__main__":
    main()
