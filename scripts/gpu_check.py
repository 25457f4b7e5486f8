#!/usr/bin/env python3
"""Checks and measures a GPU, in at most ten minutes; scripts/gpu_check.sh finds what it needs.

1. The tests of the engine on the device: golden data of MiniMind v1 in fp32 and bf16, every operation against the
   interpreter, and the kernel of attention against the composed one. They have to be built
   (`swift build -c release --build-tests`).
2. The speed of both forms of attention, and of optimizer steps in bf16, beside PyTorch with torch.compile on the same shapes, in the same minutes.
3. Two runs with the same seed, whose weights are compared byte by byte; where they differ, two more with
   XLA_FLAGS=--xla_gpu_deterministic_ops=true.

What cannot be measured is written down with its reason. Writes gpu.json and gpu.md into --output, and prints the latter.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PEER = REPOSITORY / "scripts/peers/pytorch_train.py"
TOKENIZER = REPOSITORY / "Tests/Interop/fixtures/tokenizer"


class NotMeasured(Exception):
    """Why a part has no result."""


class Check:
    def __init__(self, arguments):
        self.arguments = arguments
        self.binary = str(arguments.binary)
        self.end = time.monotonic() + arguments.minutes * 60

    def run(self, command, **environment):
        """What a command prints on standard output; its failure is why there is no result."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise NotMeasured("no time was left")
        command = list(map(str, command))
        try:
            completed = subprocess.run(
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=left, cwd=REPOSITORY,
                env=os.environ | environment)
        except subprocess.TimeoutExpired:
            raise NotMeasured("it took longer than the time that was left") from None
        except OSError as error:
            raise NotMeasured(f"{command[0]}: {error.strerror}") from None
        if completed.returncode != 0:
            words = (completed.stderr.strip() or completed.stdout.strip() or "it says nothing").splitlines()[-1]
            raise NotMeasured(f"{shlex.join(command[:3])} … ended with exit code {completed.returncode}: {words}")
        return completed.stdout

    def device(self):
        return json.loads(self.run([self.binary, "info", "--json"]))["device"]

    def golden(self):
        """How many tests passed on the device."""
        output = self.run(["swift", "test", "-c", "release", "--skip-build", "--filter", self.arguments.tests])
        found = re.search(r"Test run with (\d+) tests.* passed", output)
        if not found or "skipped" in output:
            raise NotMeasured("the tests did not run on the device")
        return int(found[1])

    def ours(self, model):
        tokens = self.arguments.micro_batch_tokens
        return json.loads(self.run([
            self.binary, "bench", "train", "--device", "gpu", "--model", model, "--precision", "bf16", "--batch-tokens", tokens,
            "--micro-batch-tokens", tokens, "--sequence-length", self.arguments.sequence_length, "--steps",
            self.arguments.steps, "--json"]))

    def theirs(self, model):
        arguments = self.arguments
        return json.loads(self.run([
            arguments.peer_python, PEER, "--device", arguments.peer_device, "--model", model, "--precision", "bf16", "--batch",
            arguments.micro_batch_tokens // arguments.sequence_length, "--sequence-length", arguments.sequence_length,
            "--steps", arguments.steps, "--json", *(["--eager"] if arguments.eager else [])]).strip().splitlines()[-1])

    def repeats(self, folder, **environment):
        """Whether two runs have the same weights, to the bit."""
        text, data = folder / "text.txt", folder / "data"
        if not data.exists():
            lines = [line for path in sorted((REPOSITORY / "docs").glob("*.md")) for line in path.read_text().splitlines()
                     if len(line) > 60]
            text.write_text("\n".join(lines))
            self.run([self.binary, "data", "pretrain", "--input", text, "--tokenizer", TOKENIZER, "--output", data])
        weights = []
        for number in (1, 2):
            output = folder / f"run-{len(environment)}-{number}"
            self.run([
                self.binary, "pretrain", "--device", "gpu", "--model", "tiny", "--data", data, "--steps",
                self.arguments.steps * 2, "--batch-tokens", 4096, "--micro-batch-tokens", 2048, "--output", output],
                **environment)
            weights.append((output / "model/model.safetensors").read_bytes())
        return weights[0] == weights[1]


def attempt(record, name, measure):
    """Puts what `measure()` gives into the record, or why there is nothing."""
    try:
        record[name] = measure()
    except NotMeasured as reason:
        record[name] = {"not_measured": str(reason)}
    print(f"gpu_check: {name}: {json.dumps(record[name])}", file=sys.stderr, flush=True)


def is_measured(value):
    return not (isinstance(value, dict) and "not_measured" in value)


def markdown(record):
    lines = [f"{record['device']}, {record['date']}", ""]

    def line(name, value, text):
        lines.append(f"- {name}: {text(value) if is_measured(value) else 'not measured: ' + value['not_measured']}")

    line("tests on the device", record["golden"], lambda count: f"{count} passed")
    line("two runs", record["repeats"], lambda same: "the same weights, to the bit" if same else "different weights")
    if "repeats with deterministic operations" in record:
        line("two runs with --xla_gpu_deterministic_ops=true", record["repeats with deterministic operations"],
             lambda same: "the same weights, to the bit" if same else "different weights")
    lines += ["", "| model, bf16 | tokens of a step | minimind tokens/s | share of the card's peak | PyTorch tokens/s | ratio |",
              "|---|---|---|---|---|---|"]
    for model in record["models"]:
        ours, theirs = record[f"minimind {model}"], record[f"PyTorch {model}"]
        own, other = ([f"{side['tokens_per_second']:.0f}" if is_measured(side) else "not measured" for side in (ours, theirs)])
        share = ours.get("share_of_peak")
        ratio = (f"{ours['tokens_per_second'] / theirs['tokens_per_second']:.2f}"
                 if is_measured(ours) and is_measured(theirs) else "")
        lines.append(f"| {model} | {record['micro_batch_tokens']} | {own} | "
                     f"{f'{share:.0%}' if share is not None else 'not known'} | {other} | {ratio} |")
    for model in record["models"]:
        if attention := record[f"minimind {model}"].get("attention"):
            lines += ["", f"{model}: attention is {attention}."]
        if seconds := record[f"minimind {model}"].get("attention_seconds"):
            lines += [f"Of one layer, forward and backward, composed {1000 * seconds['composed']:.2f} ms, "
                      f"by the kernel {1000 * seconds['kernel']:.2f} ms."]
        for side in ("minimind", "PyTorch"):
            value = record[f"{side} {model}"]
            if not is_measured(value):
                lines += ["", f"{side} {model}: {value['not_measured']}"]
    lines += ["", "The share of the peak counts every product that is computed, those of recomputation too. "
                  f"Measured by `scripts/gpu_check.sh{record['options']}` in {record['seconds']:.0f} seconds."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["small", "base"])
    parser.add_argument("--micro-batch-tokens", type=int, default=32768)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--tests", default="PJRTTests|TrainingEngineTests", help="which tests run on the device")
    parser.add_argument("--minutes", type=float, default=9.5, help="after which nothing more is begun")
    parser.add_argument("--peer-python", default="python3", help="a Python that has PyTorch and transformers")
    parser.add_argument("--peer-device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--binary", type=Path,
                        default=Path(os.environ.get("MINIMIND", REPOSITORY / ".build/release/minimind")))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()

    began = time.monotonic()
    check = Check(arguments)
    record = {"date": date.today().isoformat(), "models": arguments.models, "micro_batch_tokens": arguments.micro_batch_tokens,
              "sequence_length": arguments.sequence_length, "options": "".join(f" {word}" for word in sys.argv[1:])}
    attempt(record, "device", check.device)
    if not is_measured(record["device"]) or record["device"].startswith("no GPU"):
        sys.exit(f"gpu_check: {record['device']}")
    # The speed first: no other part needs as long.
    for model in arguments.models:
        attempt(record, f"minimind {model}", lambda: check.ours(model))
        attempt(record, f"PyTorch {model}", lambda: check.theirs(model))
    with tempfile.TemporaryDirectory() as folder:
        attempt(record, "repeats", lambda: check.repeats(Path(folder)))
        if record["repeats"] is False:
            attempt(record, "repeats with deterministic operations", lambda: check.repeats(
                Path(folder), XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"))
    attempt(record, "golden", check.golden)
    record["seconds"] = time.monotonic() - began
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.output / "gpu.md").write_text(markdown(record))
    print(markdown(record))


if __name__ == "__main__":
    main()
