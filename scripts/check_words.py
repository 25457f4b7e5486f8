#!/usr/bin/env python3
"""Refuses words that the project does not use in prose, each with what to write instead.

    scripts/check_words.py

Looks through the documents, and through the comments and texts of the folders in ROOMS, which grows as their sources are
read for this. Code in documents is left out. A line may keep a word that is right there by being in KEPT.
"""

import re
import sys
from pathlib import Path

WORDS = [
    (r"behind", "after, following"),
    (r"besides", "in addition, also"),
    (r"anew", "again, from scratch"),
    (r"but for", "except, apart from"),
    (r"all but", "all except"),
    (r"whoever|somebody|nobody", "the one who acts: client, caller, reader, user"),
    (r"takes? .{1,40} for (a|an|one)\b", "treats … as"),
    (r"come to need", "may need"),
    (r"at hand", "current, available"),
    (r"so many|so few", "the number: N"),
    (r"is told|are told|was told|be told", "is reported, receives; or name the status"),
    (r"let into", "name what happens: blocked, queued, admitted"),
    (r"stands? (in|below|beside|before|after) `", "is in"),
]
#: Parts of lines in which a word is right, such as of places in space.
KEPT = ["behind views"]
#: The documents in English that were read for this.
DOCUMENTS = [
    "README.md", "CONTRIBUTING.md", "docs/extending.md", "docs/gpu.md", "docs/tutorial.md", "docs/tutorial/*.md", "docs/guide.md", "docs/verification.md",
    "docs/LOG.md", "docs/benchmarks.md", "docs/dependencies.md", "docs/evaluation.md", "docs/notation.md",
    "docs/results.md", "docs/scaling.md", "docs/stages.md",
    "docs/architecture.md", "docs/serving.md", "docs/structured-output.md", "docs/formats.md", "docs/corpora.md",
    "docs/data.md"]
#: Folders of Sources and Tests whose comments and texts keep to the list.
ROOMS = ["scripts/tutorial"] + [
    f"Sources/{room}" for room in (
        "CKernels", "CLibZip", "CMPI", "CMicroHTTPD", "COneDNN", "CPJRT", "CPUEngine", "CSimdJSON", "CStorage",
        "Compute", "Corpus", "Evaluation", "Generation", "Machine", "Model", "ModelFiles", "PJRT", "Plotting", "Processes", "ProgramEngine", "Programs",
        "Reference",
        "Serving", "Storage", "StructuredOutput", "Templates", "Tokenization", "Training", "VectorMath", "minimind")]
#: The endings of sources that are read.
SOURCES = (".swift", ".py", ".c", ".cpp", ".h", ".js")
PATTERNS = [(re.compile(rf"\b(?:{pattern})\b" if pattern[-1] != "`" else pattern, re.I), advice) for pattern, advice in WORDS]


def prose(path):
    """(number, text) of the lines that are read: of a document all outside code, of a source its comments and texts."""
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if path.suffix == ".md":
            if line.lstrip().startswith("```"):
                fenced = not fenced
            elif not fenced:
                yield number, re.sub(r"`[^`]*`", "`", line)
        elif path.suffix == ".py" or (found := re.search(r'//.*|".*"', line)):
            yield number, line if path.suffix == ".py" else found[0]


def main():
    documents = [path for pattern in DOCUMENTS for path in Path().glob(pattern)]
    sources = [path for room in ROOMS for path in Path(room).rglob("*") if path.suffix in SOURCES]
    faults = 0
    for path in sorted(documents + sources):
        for number, line in prose(path):
            for pattern, advice in PATTERNS:
                found = pattern.search(line)
                if found and not any(kept in line for kept in KEPT):
                    faults += 1
                    print(f"{path}:{number}: “{found[0]}”: write {advice}.", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
