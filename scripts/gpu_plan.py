#!/usr/bin/env python3
"""What training would take on GPUs that are not here: compiles the real steps ahead of time and writes a table of it into
docs/gpu.md, between the marks.

    make gpu-plan
    scripts/gpu_plan.py --models tiny --cards rtx-3090 --micro-batch-tokens 8192 --json plan.json --no-document

A row takes a quarter of a minute to four minutes of a core. Those that --json has already, of a run that was interrupted, are not made again:
remove the file after a change of the programs.

The plugin, ptxas and libdevice are those of an environment (.venv-gpu-plan). The memory is what the plugin says; kernels and
the bytes that they read and write are counted in the program that XLA writes down after its passes; the time is an estimate:
additions and multiplications of products over the card's peak, and bytes over the bandwidth of its memory, one after the
other. Of our own kernel of attention operations are those of documents of the greatest length, and bytes are those of its
operands and results, once: what it reads again should come from the card's cache. No figure is measured on a card.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = REPOSITORY / "docs/gpu.md"
MARKS = "<!-- gpu-plan begins -->", "<!-- gpu-plan ends -->"

CARDS = ["rtx-3090", "rtx-4090", "h200"]
#: Models and tokens of a micro-batch of the table.
ROWS = [("small", 32768), ("base", 16384), ("base", 32768), ("moe", 32768), ("minimind-3", 32768)]
WIDTHS = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s8": 1, "u8": 1,
          "pred": 1}
#: Instructions that start no kernel.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "partition-id",
        "replica-id"}


def type_bytes(text):
    """Bytes of an HLO type, such as f32[2,3]{1,0} or a tuple of these."""
    total = 0
    for element, shape in re.findall(r"\b(\w+)\[([\d,]*)\]", text):
        count = WIDTHS.get(element, 0)
        for length in filter(None, shape.split(",")):
            count *= int(length)
        total += count
    return total


class Dump:
    """The kernels of a program, from the text that XLA writes after its last pass."""

    def __init__(self, text):
        self.computations, self.entry, lines = {}, None, []
        for line in text.splitlines():
            if begin := re.match(r"(ENTRY )?%?([\w.-]+)(?: \(.*)? \{$", line):
                lines = self.computations[begin[2]] = []
                self.entry = begin[2] if begin[1] else self.entry
            elif found := re.match(r"\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$", line):
                lines.append(found.groups())

    def kernels(self, name=None):
        """(number of kernels, bytes that they read and write) of a computation, those it calls included."""
        count = moved = 0
        sizes = {}
        for name, kind, operation, rest in self.computations[name or self.entry]:
            sizes[name] = type_bytes(kind)
            if operation in ("call", "while", "conditional"):
                for called in re.findall(r"(?:to_apply|body|condition)=%?([\w.-]+)", rest):
                    inner = self.kernels(called)
                    count, moved = count + inner[0], moved + inner[1]
            elif operation not in FREE and not operation.endswith("-done"):
                operands = re.findall(r"%?([\w.-]+)", rest.split("), ")[0])
                count += 1
                moved += sizes[name] + sum(sizes.get(operand, 0) for operand in operands)
        return count, moved


def plan(arguments, model, tokens, card):
    """What a micro-batch and a step of a model take on a card."""
    site = next((arguments.environment / "lib").glob("python3*/site-packages"))
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "MINIMIND_PJRT_PLUGIN": str(site / "jax_plugins/xla_cuda13/xla_cuda_plugin.so"),
            "XLA_FLAGS": f"--xla_dump_to={folder} --xla_dump_hlo_as_text", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [arguments.binary, "bench", "plan", "--model", model, "--card", card, "--micro-batch-tokens", str(tokens),
                   "--sequence-length", str(arguments.sequence_length), "--json"]
        command += ["--composed-attention"] if arguments.composed_attention else []
        completed = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if completed.returncode != 0:
            sys.exit(f"gpu_plan: {model} for {card}: {completed.stderr.strip()[-2000:]}")
        result = json.loads(completed.stdout)
        dumps = sorted(Path(folder).glob("*gpu_after_optimizations.txt"))
        for part, path in zip(("gradients", "step"), dumps, strict=True):
            result[part]["kernels"], result[part]["bytes"] = Dump(path.read_text()).kernels()
    gradients = result["gradients"]
    seconds = gradients["product_operations"] / result["product_rate"] + gradients["bytes"] / result["bandwidth"]
    return {"model": model, "tokens": tokens, "card": card, "estimated_seconds": seconds} | result


def table(plans, arguments):
    def gib(count):
        return f"{count / 2**30:.1f} GiB"

    lines = ["| model | micro-batch | card | temporaries | with the rest | kernels | products | read and written | estimate |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in plans:
        gradients = row["gradients"]
        rate = row["tokens"] / row["estimated_seconds"]
        lines.append(
            f"| `{row['model']}` | {row['tokens'] // arguments.sequence_length} × {arguments.sequence_length} "
            f"| {row['device'].removeprefix('NVIDIA GeForce ').removeprefix('NVIDIA ')} "
            f"| {gib(gradients['temporary_bytes'])} | {gib(row['needed_bytes'])} | {gradients['kernels']} "
            f"| {gradients['product_operations'] / 1e12:.1f} TFLOP | {gib(gradients['bytes'])} "
            f"| {1000 * row['estimated_seconds']:.0f} ms, {rate / 1000:.0f} k tokens/s |")
    return "\n".join(lines)


def write(text):
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="default: the rows of the document")
    parser.add_argument("--cards", nargs="+", default=CARDS, choices=CARDS)
    parser.add_argument("--micro-batch-tokens", type=int, default=32768, help="with --models")
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--composed-attention", action="store_true", help="without the kernel of attention")
    parser.add_argument("--environment", type=Path, default=REPOSITORY / ".venv-gpu-plan")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "bench/gpu-plan.json", help="where all figures are kept")
    parser.add_argument("--no-document", action="store_true", help="prints the table and leaves docs/gpu.md as it is")
    arguments = parser.parse_args()

    rows = [(model, arguments.micro_batch_tokens) for model in arguments.models] if arguments.models else ROWS
    made = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    wanted = [(model, tokens, card) for card in arguments.cards for model, tokens in rows]
    plans = {(row["model"], row["tokens"], row["card"]): row for row in made}
    for key in wanted:
        if key not in plans:
            plans[key] = plan(arguments, *key)
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(list(plans.values()), indent=1) + "\n")
            print(f"gpu_plan: {key}: {plans[key]['gradients']}", file=sys.stderr, flush=True)
    plans = [plans[key] for key in wanted]
    print(table(plans, arguments))
    if not arguments.no_document:
        packages = (REPOSITORY / "scripts/requirements-gpu-plan.txt").read_text().splitlines()
        names = ", ".join(f"`{line}`" for line in packages if line and not line.startswith("#"))
        write(f"\n{table(plans, arguments)}\n\n`make gpu-plan`, {date.today().isoformat()}, with {names}.\n")


if __name__ == "__main__":
    main()
