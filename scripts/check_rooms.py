#!/usr/bin/env python3
"""Checks three rules that the compiler does not.

Each target of Package.swift imports what it is granted, and nothing else: the build lets a file import any module that was
built before it. And no code learns from a weight's key what the weight is: `ParameterRole` says it. Only the tables of keys
and the file formats know how a key is spelled. And what runs over any engine holds no pointers: numbers cross as arrays, or
in buffers that the engine owns."""

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
KEY = re.compile(r"""^(?!\s*//).*"[^"]*(_proj|self_attn|layernorm|lora_[AB]|embed_tokens|lm_head|\.mlp\.|model\.layers)""")
TABLES = {"ParameterTable.swift", "SightWeights.swift", "LoRAConfiguration.swift", "LoRAAdapter.swift"}  # of Sources/Model
for file in sorted((ROOT / "Sources").rglob("*.swift")):
    room = file.relative_to(ROOT / "Sources").parts[0]
    if room == "ModelFiles" or (room == "Model" and file.name in TABLES):
        continue
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if KEY.match(line):
            print(f"check_rooms: {file.relative_to(ROOT)}:{number} spells a weight's key: ask its role.", file=sys.stderr)
            faults += 1
POINTER = re.compile(r"^(?!\s*//).*(?<!with)Unsafe\w*Pointer")
for room in ("Training", "Generation"):
    for file in sorted((ROOT / "Sources" / room).rglob("*.swift")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if POINTER.match(line):
                print(f"check_rooms: {file.relative_to(ROOT)}:{number} holds a pointer.", file=sys.stderr)
                faults += 1
if faults:
    sys.exit(1)
print(f"check_rooms: {len(targets)} targets import what Package.swift grants them, and nothing else.")
