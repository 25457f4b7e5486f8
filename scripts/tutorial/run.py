#!/usr/bin/env python3
"""Takes the commands of the tutorial in order, as a reader would, on a small text and with few steps.

    scripts/tutorial/run.py [--directory DIR] [--full]

Runs every block of docs/tutorial that is fenced as ```sh, and stops at the first command that fails. The text is made of
the repository's own documents and questions, so nothing is downloaded. Each training run gets a few steps in place of its epochs;
with --full the commands are left as they are, and DIR/demo/text must hold the tutorial's text. Commands that do not end by
themselves (`watch`, `serve`) run until their page has been read. Uses the program that MINIMIND names, or
.build/release/minimind, and the Python that runs this.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
SERVERS = ("minimind watch", "minimind serve")
TRAINING = re.compile(r"^minimind (pretrain|sft|lora|dpo) (?!--resume)")
# One thread: with several, a busy machine makes each wait for the others at every layer.
SMALL = "--batch-tokens 1024 --micro-batch-tokens 1024 --eval-tokens 1024 --threads 1"


def commands(document):
    """The lines of the blocks that are to be run; continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def make_text(directory):
    """Files named like those of extract_corpora.py, from what the repository holds."""
    from corpora.preferences import pairs_from_questions
    from corpora.questions import own_questions

    directory.mkdir(parents=True)
    pages = [path.read_text(encoding="utf-8") for path in sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])]
    documents = [{"text": part.strip()} for page in pages for part in page.split("\n\n") if len(part.strip()) > 40]
    questions = list(own_questions())
    files = {
        "train": [row for index, row in enumerate(documents) if index % 32], "heldout": documents[::32],
        "questions": questions, "preferences": list(pairs_from_questions(questions))}
    for name, rows in files.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (directory / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def small(command):
    """The command with few steps, if it trains, and with one thread, if it computes."""
    if not TRAINING.match(command):
        # A model of two steps does not know how to end an answer.
        command = re.sub(r"minimind chat\b", r"\g<0> --max-tokens 16", command)
        return re.sub(r"minimind (chat|generate|eval perplexity)\b", r"\g<0> --threads 1", command)
    words = shlex.split(command)
    for option in ("--epochs", "--steps", "--batch-tokens"):
        if option in words:
            place = words.index(option)
            del words[place:place + 2]
    return shlex.join(words) + " --steps 2 " + SMALL


def read_page(command, directory, environment):
    """Starts a server, reads its page, and interrupts it."""
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port 0"], cwd=directory, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                with urllib.request.urlopen(address[0], timeout=30) as answer:
                    return b"<html" in answer.read().lower()
        print("".join(said))
        return False
    finally:
        server.send_signal(signal.SIGINT)
        server.stdout.read()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where to work; a temporary one if left out")
    parser.add_argument("--full", action="store_true", help="the commands as they are, on DIR/demo/text")
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp())
    directory.mkdir(parents=True, exist_ok=True)
    program = Path(os.environ.get("MINIMIND", ROOT / ".build/release/minimind")).resolve()
    if not program.exists():
        sys.exit(f"run.py: {program} is not built. Run make build.")
    links = {"scripts": ROOT / "scripts", "bin/minimind": program, ".venv/bin/python": Path(sys.executable)}
    for name, target in links.items():
        link = directory / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith(".venv"):
            # A link to a virtual environment's Python would lose its packages.
            link.write_text(f'#!/bin/sh\nexec {shlex.quote(str(target))} "$@"\n')
            link.chmod(0o755)
        elif not link.exists():
            link.symlink_to(target)
    if not arguments.full:
        make_text(directory / "demo/text")
    environment = {**os.environ, "PATH": f"{directory.resolve() / 'bin'}:{os.environ['PATH']}"}
    began = time.monotonic()
    count = 0
    for document in sorted((ROOT / "docs/tutorial").glob("*.md")):
        for written in commands(document):
            command = written if arguments.full else small(written)
            print(f"{document.name}: {command}", flush=True)
            if command.startswith(SERVERS):
                succeeded, output = read_page(command, directory, environment), ""
            else:
                result = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command], cwd=directory, env=environment, text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                succeeded, output = result.returncode == 0, result.stdout
            if not succeeded:
                sys.exit(f"{output}\nrun.py: a command of {document.name} failed: {command}")
            if arguments.full:
                print(output, flush=True)
            count += 1
    print(f"run.py: {count} commands of the tutorial, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
