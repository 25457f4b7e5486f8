#!/usr/bin/env python3
"""Checks that every line of Swift that a document quotes is in the source, in that order.

    scripts/check_quotations.py FILE.md…

The file is the one that the fence names (```swift Sources/…/X.swift), else the last back-quoted `Sources/….swift` or
`Tests/….swift` before it. Lines of a quotation follow each other in the source; a line that is only “…” stands for lines
that were left out, at least one. Indentation is not compared. Standard library only.
"""

import re
import sys
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*(\S*)")
NAMED = re.compile(r"`((?:Sources|Tests)/[^` ]+\.swift)`")


def quotations(document):
    """(source or None, line number, lines) of each."""
    source, quoted, start = None, None, 0
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if quoted is not None:
            if fence:
                if quoted and is_swift:
                    yield own or source, start, quoted
                quoted = None
            elif line.strip():
                quoted.append(line.strip())
        elif fence:
            quoted, start, is_swift, own = [], number, fence[1] == "swift", fence[2]
        else:
            names = NAMED.findall(line)
            source = names[-1] if names else source


def fault(quoted, text):
    """The first line that does not follow; None when all do. Tries every place where the first line occurs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    furthest = 0
    for start in (index for index, line in enumerate(lines) if quoted[0] in line):
        place, gap, reached = start, False, len(quoted)
        for number, line in enumerate(quoted[1:], 1):
            if line == "…":
                gap = True
                continue
            candidates = range(place + 2, len(lines)) if gap else range(place + 1, min(place + 2, len(lines)))
            found = next((index for index in candidates if line in lines[index]), None)
            if found is None:
                reached = number
                break
            place, gap = found, False
        if reached == len(quoted):
            return None
        furthest = max(furthest, reached)
    return quoted[furthest]


def elsewhere(line):
    """A hint: the files that have the line now."""
    files = [path for folder in ("Sources", "Tests") for path in sorted(Path(folder).rglob("*.swift"))
             if line in path.read_text(encoding="utf-8")]
    return f" It is in {', '.join(map(str, files[:3]))}." if files else ""


def main():
    faults = 0
    for name in sys.argv[1:]:
        for source, number, quoted in quotations(Path(name)):
            if source is None or not Path(source).exists():
                line, where = quoted[0], f"in {source}, which does not exist" if source else "in no file that is named"
            else:
                line, where = fault(quoted, Path(source).read_text(encoding="utf-8")), f"at that place in {source}"
            if line is not None:
                faults += 1
                hint = "" if line == "…" else elsewhere(line)
                print(f"{name}:{number}: the quotation's line “{line}” is not {where}.{hint}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
