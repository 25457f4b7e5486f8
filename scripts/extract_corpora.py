#!/usr/bin/env python3
"""Fetches text from packages of Debian and PyPI and turns it into training files. Standard library only.

    scripts/extract_corpora.py --set demo --output demo/text          about 3 MiB, what `make demo` trains on
    scripts/extract_corpora.py --set large --output runs/text-large   about 12 MiB, for a longer run

Writes OUTPUT/train.jsonl and OUTPUT/heldout.jsonl ({"text": …}, split by document, the same on every run),
OUTPUT/questions.jsonl ({"messages": […]}), OUTPUT/preferences.jsonl ({"prompt", "chosen", "rejected"}: messages) and
OUTPUT/SOURCES.md (each source with its package and licence).
Packages are downloaded and unpacked under --cache; nothing is installed. See docs/corpora.md.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from corpora.preferences import PREFERENCE_SOURCES, pairs_from_questions
from corpora.questions import QUESTION_SOURCES
from corpora.sources import SOURCES

#: A document ends at the paragraph that would take it past this: with a vocabulary of 6400 entries about 450 tokens,
#: so that it fits a training sequence of 512 whole.
DOCUMENT_BYTES = 1400
MINIMUM_DOCUMENT_BYTES = 60
#: Packages of PyPI whose wheel lacks the text that the source archive has.
SOURCE_ARCHIVES = {"llamafactory==0.9.5"}
#: One document in this many is held out.
HELD_OUT_EVERY = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["demo", "large"], default="demo")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("demo/packages"))
    parser.add_argument(
        "--unstated-origin", action="store_true",
        help="also takes texts whose package has a licence but does not say where they come from: for your own experiments")
    arguments = parser.parse_args()
    try:
        extract(arguments.set, arguments.cache, arguments.output, arguments.unstated_origin)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"extract_corpora.py: {error}")


def extract(set_name, cache, output, takes_unstated_origin):
    sources = [source for source in SOURCES if set_name in source.sets]
    questions = [(name, package, licence, sets[set_name]) for name, package, licence, sets in QUESTION_SOURCES if set_name in sets]
    preferences = PREFERENCE_SOURCES if takes_unstated_origin else []
    packages = {package for source in sources for package in source.packages} | {row[1] for row in questions + preferences if row[1]}
    root = fetch(sorted(packages), cache)

    output.mkdir(parents=True, exist_ok=True)
    rows, seen, training, held_out = [], set(), [], []
    for source in sources:
        documents = list(source_documents(source, root, seen))
        for text in documents:
            (held_out if is_held_out(text) else training).append({"text": text})
        size = sum(len(text.encode()) for text in documents)
        rows.append((source.name, shortened(source.packages), source.licence, len(documents), f"{size / 2**20:.2f} MiB"))
    conversations = []
    for name, package, licence, read in questions:
        found = list(read(root))
        conversations += found
        rows.append((name, package or "—", licence, len(found), "questions"))
    pairs = list(pairs_from_questions(conversations))
    rows.append(("Questions above with a wrong answer", "—", "as the questions", len(pairs), "pairs"))
    for name, package, licence, read in preferences:
        found = list(read(root))
        pairs += found
        rows.append((name, package, licence, len(found), "pairs"))

    write_lines(output / "train.jsonl", training)
    write_lines(output / "heldout.jsonl", held_out)
    write_lines(output / "questions.jsonl", conversations)
    write_lines(output / "preferences.jsonl", pairs)
    header = ("source", "package", "licence", "documents", "size")
    print_table(header, rows)
    notice = ["Text extracted from installed packages. Each source keeps its own licence.\n", "| " + " | ".join(header) + " |", "|---" * 5 + "|"]
    (output / "SOURCES.md").write_text("\n".join(notice + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n")
    for path in ("train.jsonl", "heldout.jsonl", "questions.jsonl", "preferences.jsonl"):
        print(f"{output / path}: {(output / path).stat().st_size / 2**20:.2f} MiB")


def python_with_pip(cache):
    """This Python, or, where it has no pip, as Debian's own has not, one beside the packages."""
    if importlib.util.find_spec("pip"):
        return sys.executable
    environment = cache.resolve() / "python"
    if not (environment / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True, stdin=subprocess.DEVNULL)
    return environment / "bin/python"


def get_package_lists(package):
    """Gets apt's lists if they do not have the package; a fresh container has none."""
    if subprocess.run(["apt-cache", "show", package], capture_output=True).returncode != 0:
        command = ["apt-get", "update", "-qq"]
        subprocess.run(command if os.getuid() == 0 else ["sudo", *command], check=True, stdin=subprocess.DEVNULL)


def fetch(packages, cache):
    """Downloads packages and unpacks all of them below one folder, as an installation would."""
    (cache / "done").mkdir(parents=True, exist_ok=True)
    for package in packages:
        if (cache / "done" / package).exists():
            continue
        print(f"fetching {package}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            if "==" in package:
                command = [python_with_pip(cache), "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", package]
                if package in SOURCE_ARCHIVES:
                    command += ["--no-binary", ":all:"]
            else:
                get_package_lists(package)
                command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
            subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
            for archive in Path(folder).iterdir():
                unpack(archive, cache / "root")
        (cache / "done" / package).touch()
    return cache / "root"


def unpack(archive, folder):
    """Unpacks a .deb, a wheel or a source archive below the folder."""
    folder.mkdir(exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    elif archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(folder)
    else:
        subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)


def source_documents(source, folder, seen):
    """The documents of a source: paragraphs not met before, gathered up to DOCUMENT_BYTES, until the source's limit."""
    total = 0
    for paragraphs in source.read(folder):
        fresh = []
        for paragraph in paragraphs:
            key = hashlib.sha256(re.sub(r"\W+", "", paragraph).encode()).digest()
            if key not in seen:
                seen.add(key)
                fresh.append(paragraph)
        for text in gathered(fresh):
            total += len(text.encode())
            if source.limit_bytes and total > source.limit_bytes:
                return
            yield text


def gathered(paragraphs):
    """Gathers paragraphs into documents of bounded size."""
    document = ""
    for paragraph in paragraphs:
        for separator, text in pieces(paragraph):
            if document and len((document + separator + text).encode()) > DOCUMENT_BYTES:
                yield from finished(document)
                document = ""
            document += (separator if document else "") + text
    yield from finished(document)


def pieces(paragraph):
    """The paragraph with what separates it from the text before; a long one line by line, a long line by sentences."""
    for line in [paragraph] if len(paragraph.encode()) <= DOCUMENT_BYTES else paragraph.splitlines():
        sentences = [line] if len(line.encode()) <= DOCUMENT_BYTES else re.split(r"(?<=[。！？])|(?<=[.!?;:]) ", line)
        separator = "\n"
        for sentence in filter(str.strip, sentences):
            yield separator, sentence.strip()
            separator = "" if sentence.endswith(("。", "！", "？")) else " "


def finished(document):
    """The document, unless it is too short to teach anything or a single sentence beyond all measure."""
    if MINIMUM_DOCUMENT_BYTES <= len(document.encode()) <= 2 * DOCUMENT_BYTES:
        yield document


def is_held_out(text):
    """By the text's own hash, so that adding a source moves no other document."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT_EVERY == 0


def shortened(packages):
    """The packages' names, or the first and how many more there are."""
    return " ".join(packages) if len(packages) <= 2 else f"{packages[0]} and {len(packages) - 1} like it"


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def print_table(header, rows):
    table = [tuple(map(str, row)) for row in [header] + rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print("  ".join(cell.rjust(width) if column >= 3 else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))).rstrip())


if __name__ == "__main__":
    main()
