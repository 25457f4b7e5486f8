#!/usr/bin/env python3
"""Checks Package.swift: each target imports what it is granted, and nothing else. The build itself lets a file import any
module that was built before it."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT = re.compile(r"^ *(?:@\w+ )?(?:package |public |private |internal )?import (?:\w+ )?(\w+)", re.MULTILINE)

dump = subprocess.run(
    ["swift", "package", "dump-package"], cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
)
targets = json.loads(dump.stdout)["targets"]
names = {target["name"] for target in targets} | {"COneDNN"}  # which a portable build leaves out
faults = 0
for target in targets:
    folder = target.get("path") or ("Tests/" if target["type"] == "test" else "Sources/") + target["name"]
    files = list((ROOT / folder).rglob("*.swift"))
    if not files:
        continue  # C, which does not import
    granted = {next(iter(dependency.values()))[0] for dependency in target["dependencies"]}
    imported = {name for file in files for name in IMPORT.findall(file.read_text())} & names
    for name in sorted(imported - granted - {"COneDNN"}):
        print(f"check_rooms: {target['name']} imports {name}, which Package.swift does not grant.", file=sys.stderr)
        faults += 1
    for name in sorted(granted - imported):
        print(f"check_rooms: Package.swift grants {target['name']} {name}, which no file imports.", file=sys.stderr)
        faults += 1
if faults:
    sys.exit(1)
print(f"check_rooms: {len(targets)} targets import what Package.swift grants them, and nothing else.")
