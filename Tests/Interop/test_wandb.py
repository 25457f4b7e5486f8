"""`--wandb`, with the package itself in its offline mode: what it has written says what metrics.jsonl says."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy


def records(path):
    """The records of a file of the package: LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at:at + 7])
        if kind == 0:
            at += 32768 - at % 32768
            continue
        parts += data[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


@pytest.fixture(scope="module")
def data(minimind, tokenizer_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    text = folder / "text.txt"
    text.write_text("".join(f"Document {n} says that {n} and {n + 1} make {2 * n + 1}.\n" for n in range(400)))
    minimind("data", "pretrain", "--input", text, "--tokenizer", tokenizer_directory, "--output", folder / "data")
    return folder / "data"


def test_offline_and_resumed(binary, data, tmp_path):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "WANDB_MODE": "offline", "HOME": str(tmp_path)}
    run = tmp_path / "run"

    def train(*arguments):
        completed = subprocess.run([binary, "pretrain", *map(str, arguments)], capture_output=True, text=True,
                                   stdin=subprocess.DEVNULL, env=environment)
        assert completed.returncode == 0, completed.stderr

    train("--model", "tiny", "--data", data, "--output", run, "--steps", 8, "--batch-tokens", 256,
          "--micro-batch-tokens", 256, "--sequence-length", 64, "--eval-interval", 4, "--threads", 1, "--wandb", "project")
    for name in ("checkpoints/step-8", "checkpoints/best"):
        path = run / name
        path.unlink() if path.is_symlink() else path.rename(tmp_path / "gone")
    train("--resume", run)

    sessions = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(sessions) == 2
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    identifier = (run / "wandb-id").read_text().strip()
    seen = {}
    for session in sessions:
        for record in records(session):
            if record.HasField("run") and record.run.run_id:
                assert record.run.run_id == identifier and record.run.project == "project"
            if record.HasField("history"):
                row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                step = row["train/global_step"]
                seen |= {(step, name): value for name, value in row.items() if not name.startswith("_")}
    expected = {(line["train/global_step"], name): value for line in lines for name, value in line.items()}
    varying = ("train/tokens_per_second", "train/peak_memory_bytes")
    assert {key: value for key, value in seen.items() if key[1] not in varying} == {
        key: value for key, value in expected.items() if key[1] not in varying}


def test_the_package_is_missing(binary, data, tmp_path):
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    completed = subprocess.run(
        [binary, "pretrain", "--model", "tiny", "--data", data, "--output", tmp_path / "run",
         "--wandb", "project"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}"})
    assert completed.returncode == 1 and "pip install wandb" in completed.stderr
    assert not (tmp_path / "run").exists()
