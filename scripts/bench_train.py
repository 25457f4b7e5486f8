#!/usr/bin/env python3
"""Races training: `minimind bench train` against PyTorch, and against itself with fewer threads or longer sequences.

    make bench
    .venv-interop/bin/python scripts/bench_train.py --races small base --pairs 5

The races, all of them if none is named:

    small, base, fp32   full sequences of 512 tokens, against PyTorch; fp32 is small without bf16
    experts             the same for moe, against Ernie4_5_MoeForCausalLM, compiled or eager, whichever is quicker
    questions, text     prepared questions and answers, and prepared text: ours packed, PyTorch's padded to 512 tokens a
                        document, as MiniMind v1 does; only real tokens count
    threads             one worker against two
    lengths             sequences of 512 tokens against 2048, beside what the arithmetic of attention explains
    waiting             the share of its time that a training run waits for data

PyTorch trains with the batch size that is its fastest among --batches, found first; ours with as many tokens a step.
The two sides run one after the other on the same cores and take turns in going first, so that what slows the machine
slows both; the median of the pairs' ratios is the result. Questions and text are the large set of
scripts/extract_corpora.py, fetched when it is not there yet. Writes bench/train.json with every figure and
bench/train.md with the table printed here.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PEER = REPOSITORY / "scripts/peers/pytorch_train.py"
TEXT = REPOSITORY / "runs/text-large"


def run(command):
    """What a command prints on standard output; its failure ends the program."""
    completed = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if completed.returncode != 0:
        sys.exit(f"{Path(sys.argv[0]).name}: {' '.join(map(str, command))} ended with exit code {completed.returncode}.")
    return completed.stdout


def run_json(command):
    """The JSON object that a command prints last on standard output."""
    return json.loads(run(command).strip().splitlines()[-1])


def machine():
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return {"processor": name, "cores": os.cpu_count(), "system": platform.platform(), "date": date.today().isoformat()}


def fetch_text():
    """The large set of texts, in runs/text-large."""
    if not (TEXT / "train.jsonl").exists():
        run([sys.executable, REPOSITORY / "scripts/extract_corpora.py", "--set", "large", "--output", TEXT])
    return TEXT


class Race:
    """Two commands and what came out: `pairs` holds (first, second) for each pair."""

    def __init__(self, name, sides, first, second, pairs, remark=""):
        self.name, self.sides, self.remark, self.pairs = name, sides, remark, []
        for index in range(pairs):
            order = (first, second) if index % 2 == 0 else (second, first)
            results = [run_json(command) for command in order]
            self.pairs.append(tuple(results if index % 2 == 0 else reversed(results)))
            print(f"{name} {index + 1}/{pairs}: {self.ratios()[-1]:.2f}", file=sys.stderr, flush=True)

    def ratios(self):
        return [first["tokens_per_second"] / second["tokens_per_second"] for first, second in self.pairs]

    def median(self, side, key):
        return statistics.median(pair[side][key] for pair in self.pairs)

    def row(self):
        cells = [f"{side} {self.median(index, 'tokens_per_second'):.0f}" for index, side in enumerate(self.sides)]
        peaks = " and ".join(f"{self.median(side, 'peak_memory_bytes') / 2**20:.0f} MiB" for side in (0, 1))
        return (f"| {self.name} | {' | '.join(cells)} | {statistics.median(self.ratios()):.2f} "
                f"| {min(self.ratios()):.2f}–{max(self.ratios()):.2f} | {peaks} | {self.remark} |")


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.binary = arguments.binary
        self.rivals = {}

    def ours(self, model="small", precision="bf16", *options):
        return [self.binary, "bench", "train", "--model", model, "--precision", precision, "--json", *options]

    def theirs(self, model, precision, *options):
        command = [sys.executable, PEER, "--model", model, "--precision", precision, "--json", *options]
        return command + ["--eager"] * self.arguments.eager

    def best_rival(self, model, precision):
        """The sequences a step, and for experts the way of running, with which PyTorch is fastest."""
        if (model, precision) not in self.rivals:
            # Of the ways in which transformers computes experts on a CPU, its loop over them is the quickest.
            ways = [["--experts", "eager"], ["--experts", "eager", "--eager"]] if model == "moe" else [[]]
            rates = {}
            for options in [["--batch", str(batch), *way] for way in ways for batch in self.arguments.batches]:
                rate = run_json(self.theirs(model, precision, *options, "--steps", 3))["tokens_per_second"]
                rates[tuple(options)] = rate
                print(f"PyTorch {model} {precision} {' '.join(options)}: {rate:.0f} tokens/s", file=sys.stderr, flush=True)
            self.rivals[model, precision] = max(rates, key=rates.get)
        return self.rivals[model, precision]

    def against_pytorch(self, name, model="small", precision="bf16", data=None):
        rival = self.best_rival(model, precision)
        ours = self.ours(model, precision, "--batch-tokens", 512 * int(rival[1]))
        theirs = self.theirs(model, precision, *rival)
        remark = f"PyTorch's best: {' '.join(rival)} of batches {self.arguments.batches}"
        if data:
            length = self.mean_length(data)
            ours += ["--data", data]
            theirs += ["--useful-length", length]
            remark += f"; {length} tokens a document"
        return Race(name, ("minimind", "PyTorch"), ours, theirs, self.arguments.pairs, remark)

    def prepared(self, kind):
        """Data from the large set: of questions (`sft`) or of text (`pretrain`)."""
        text, tokenizer = fetch_text(), self.arguments.output / "tokenizer"
        data = self.arguments.output / f"data-{kind}"
        if not tokenizer.exists():
            run([self.binary, "tokenizer", "train", "--input", text / "train.jsonl", "--output", tokenizer])
        source = text / ("questions.jsonl" if kind == "sft" else "train.jsonl")
        run([self.binary, "data", kind, "--input", source, "--tokenizer", tokenizer, "--output", data])
        return data

    def mean_length(self, data):
        """Tokens that a model reads of a document: all but the last, which is only predicted."""
        totals = run_json([self.binary, "data", "inspect", data, "--samples", 0, "--json"])["manifest"]["training"]
        return min(512, round(totals["tokens"] / totals["documents"]) - 1)

    def threads(self):
        return Race(
            "two threads, one", ("two", "one"), [*self.ours(), "--threads", 2], [*self.ours(), "--threads", 1],
            self.arguments.pairs)

    def lengths(self):
        race = Race(
            "2048 tokens, 512", ("2048", "512"), [*self.ours(), "--sequence-length", 2048],
            [*self.ours(), "--sequence-length", 512], self.arguments.pairs)
        # A token sees half the sequence on average; two products forward, five on the way back, each two operations for
        # each of 16 heads of 32; 8 layers. Four times the keys take four times attention's share of the time.
        operations = {length: 8 * 7 * 2 * 16 * 32 * (length + 1) / 2 for length in (512, 2048)}
        share = statistics.median(short["profile"]["attention"] for _, short in race.pairs)
        explained = 1 / (1 + share * (operations[2048] / operations[512] - 1))
        race.remark = (f"attention {operations[512] / 1e6:.1f} and {operations[2048] / 1e6:.1f} MFLOP a token beside 161 of "
                       f"products, {share:.1%} of the time at 512: explains a ratio of {explained:.2f}")
        return race

    def waiting(self):
        """Where the time of a short training run goes, in the program's own words."""
        data = self.prepared("pretrain")
        with tempfile.TemporaryDirectory() as folder:
            written = run([
                self.binary, "pretrain", "--model", "small", "--data", data, "--output", f"{folder}/run", "--steps", 20])
        return re.search(r"time share +(.*)", written).group(1)


RACES = {
    "small": lambda bench: bench.against_pytorch("small, bf16"),
    "base": lambda bench: bench.against_pytorch("base, bf16", model="base"),
    "fp32": lambda bench: bench.against_pytorch("small, fp32", precision="fp32"),
    "experts": lambda bench: bench.against_pytorch("moe, bf16", model="moe"),
    "questions": lambda bench: bench.against_pytorch("small, questions", data=bench.prepared("sft")),
    "text": lambda bench: bench.against_pytorch("small, text", data=bench.prepared("pretrain")),
    "threads": Bench.threads,
    "lengths": Bench.lengths,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", nargs="+", default=[*RACES, "waiting"], choices=[*RACES, "waiting"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 32], help="PyTorch's sequences a step to try")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()

    arguments.output.mkdir(exist_ok=True)
    bench = Bench(arguments)
    races = [RACES[name](bench) for name in arguments.races if name in RACES]
    host = machine()
    lines = []
    if races:
        lines += ["| race | tokens/s | against | ratio (median) | ratio (range) | peaks of memory | |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [race.row() for race in races] + [""]
    if "waiting" in arguments.races:
        lines += [f"A training run's time: {bench.waiting()}.", ""]
    versions = {f"PyTorch {result['torch']}{' with torch.compile' if result['compiled'] else ''}"
                for race in races for pair in race.pairs for result in pair if "torch" in result}
    lines += ["; ".join([f"{host['processor']}, {host['cores']} cores, {host['date']}", *versions,
                         f"{arguments.pairs} alternating pairs, medians."])]
    record = {"machine": host, "races": {race.name: race.pairs for race in races}}
    (arguments.output / "train.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.output / "train.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
