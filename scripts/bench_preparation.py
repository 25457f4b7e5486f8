#!/usr/bin/env python3
"""Measures what preparing data costs: rates of its parts on one thread, several threads and processes, and memory.

    scripts/bench_preparation.py TEXT.jsonl TOKENIZER [rates|writer|memory]

`rates` prepares the text, repeated until it has 191 MiB, and prints MiB/s of input. `writer` does so with eight
processes, and prints what the first one computes more than the others, who do not write. `memory` makes two million different
documents of thirty words each, and prints the peak memory of each process with and without near-duplicates
looked for. The program is $MINIMIND, or .build/release/minimind. Processes need mpirun.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BINARY = os.environ.get("MINIMIND", str(Path(__file__).resolve().parents[1] / ".build/release/minimind"))
ENVIRONMENT = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np"]
DROP_ALL = ["--max-characters", "1", "--long", "drop"]
BOTH = ["--deduplicate", "--near-duplicates", "0.8"]


def command(text, tokenizer, output, threads, *options):
    return [BINARY, "data", "pretrain", "--input", text, "--tokenizer", tokenizer, "--output", output, "--threads",
            str(threads), *options]


def repeated(text, folder):
    content = text.read_bytes()
    many = folder / "many.jsonl"
    # One row is short enough for DROP_ALL to keep.
    many.write_bytes(content * (1 + 200_000_000 // len(content)) + b'{"text": "x"}\n')
    return many


def usages(processes, run):
    """CPU seconds and peak MiB of each process, by rank, as a copy of this script in its place tells them."""
    done = subprocess.run(
        [*MPIRUN, str(processes), sys.executable, __file__, "usage", *run], env=ENVIRONMENT, check=True,
        capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("usage ")]
    assert len(lines) == processes, done.stdout
    return [(float(seconds), float(peak)) for _, _, seconds, peak in sorted(lines, key=lambda line: int(line[1]))]


def usage(run):
    code = subprocess.run(run).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\nusage {os.environ['OMPI_COMM_WORLD_RANK']} {used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss / 1024:.0f}",
          flush=True)
    sys.exit(code)


def writer(text, tokenizer, folder):
    many = repeated(text, folder)
    for _ in range(3):
        first, *others = [seconds for seconds, _ in usages(8, command(many, tokenizer, folder / "out", 1))]
        more = first - sorted(others)[3]
        print(f"writer: {more:.2f} s more than the others' {sorted(others)[3]:.2f} s for {many.stat().st_size / 2**20:.0f} MiB: "
              f"{many.stat().st_size / 2**20 / more:.0f} MiB/s", flush=True)


def rates(text, tokenizer, folder):
    many = repeated(text, folder)
    cases = [
        ("1 thread: rows read, parsed and hashed", 1, 1, DROP_ALL), ("1 thread: tokens made and written, too", 1, 1, []),
        ("1 thread: --deduplicate", 1, 1, BOTH[:1]), ("1 thread: --near-duplicates", 1, 1, BOTH[1:]),
        ("2 threads: both", 1, 2, BOTH), ("2 processes: both", 2, 1, BOTH), ("4 processes: both", 4, 1, BOTH)]
    for name, processes, threads, options in cases:
        seconds = []
        for _ in range(3):
            run = command(many, tokenizer, folder / "out", threads, *options)
            start = time.monotonic()
            subprocess.run(
                run if processes == 1 else [*MPIRUN, str(processes), *run], env=ENVIRONMENT, check=True,
                stdout=subprocess.DEVNULL)
            seconds.append(time.monotonic() - start)
        size = many.stat().st_size / 2**20
        print(f"{name:40} {size / sorted(seconds)[1]:7.1f} MiB/s", flush=True)


def memory(_, tokenizer, folder):
    generator = random.Random(1)
    text = folder / "distinct.txt"
    count = 2_000_000
    words = [f"w{number}" for number in range(50_000)]
    with text.open("w") as file:
        for _ in range(count):
            file.write(" ".join(generator.choices(words, k=30)) + "\n")
    for processes in [1, 2, 4]:
        peaks = []
        for options in [[], BOTH]:
            peaks.append([peak for _, peak in usages(processes, command(text, tokenizer, folder / "out", 1, *options))])
        print(f"{processes} processes: peak {peaks[0]} MiB without, {peaks[1]} MiB with both; "
              f"17 keys a document should take {17 * count / processes * 8 / 0.875 / 2**20:.0f} to "
              f"{17 * count / processes * 8 / 0.7 / 2**20:.0f} MiB", flush=True)


def main():
    if sys.argv[1] == "usage":
        usage(sys.argv[2:])
    folder = Path(tempfile.mkdtemp(dir="."))
    try:
        for measure in [rates, writer, memory]:
            if len(sys.argv) < 4 or sys.argv[3] == measure.__name__:
                measure(Path(sys.argv[1]), sys.argv[2], folder)
    finally:
        shutil.rmtree(folder)


main()
