"""Learning from a teacher by the commands: its answers kept with the data, and answers that the model writes itself."""

import json
import os

import pytest
from test_training import FEW, data, pretraining  # noqa: F401


@pytest.fixture(scope="module")
def teacher(minimind, data, tmp_path_factory):  # noqa: F811
    run = tmp_path_factory.mktemp("teacher") / "run"
    minimind(*pretraining(data, run, "--steps", "60", "--learning-rate", "0.01"))
    return run


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/loss" in line]


def test_a_run_by_kept_answers_is_that_with_the_teacher_in_memory(minimind, data, teacher, tmp_path):  # noqa: F811
    kept = tmp_path / "kept"
    said = minimind(
        "data", "teacher", "--teacher", teacher, "--data", data / "pretrain", "--top", "5", "--precision", "fp32",
        "--sequence-length", "128", "--output", kept).stdout
    manifest = json.loads((kept / "manifest.json").read_text())
    trained = manifest["training"]["trainedTokens"]
    files = list(kept.glob("*.teacher"))
    # 5 ids of 2 bytes and 6 numbers of 4 for each trained token, and a header for each shard.
    assert sum(file.stat().st_size for file in files) == 34 * trained + 128 * len(files)
    assert "34 bytes a trained token" in said
    assert manifest["teacher"]["top"] == 5 and manifest["teacher"]["temperature"] == 1.5
    # The data themselves take no room twice.
    shards = list(kept.glob("*.tokens"))
    assert shards and all(os.stat(shard).st_nlink == 2 for shard in shards)
    assert "likeliest tokens at temperature" in minimind("data", "inspect", kept).stdout
    options = ["--steps", "6", "--precision", "fp32"]
    run = tmp_path / "memory"
    minimind(*pretraining(data, run, "--teacher", teacher, "--teacher-top", "5", *options))
    other = tmp_path / "disk"
    shown = minimind("pretrain", "--model", data / "model.json", "--data", kept, "--output", other, *FEW, *options).stdout
    assert "stored with the data" in shown
    found, expected = metrics(other), metrics(run)
    assert len(found) == len(expected) == 6
    for line, other_line in zip(found, expected):
        assert line["train/divergence"] == pytest.approx(other_line["train/divergence"], rel=1e-3)
    refused = minimind(
        "pretrain", "--model", data / "model.json", "--data", kept, "--output", tmp_path / "no", "--teacher", teacher,
        check=False)
    assert refused.returncode != 0 and "holds what a teacher said" in refused.stderr


def test_a_model_answers_for_its_teacher(minimind, data, teacher, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    shown = minimind(
        "sft", "--from", teacher, "--teacher", teacher, "--on-policy", "1", "--answer-tokens", "12", "--data", data / "sft",
        "--output", run, "--steps", "3", *FEW).stdout
    assert "the model writes the answers of 1 of the steps" in shown
    # Chunks of long conversations that begin inside an answer are kept.
    assert all(0.4 < line["train/on_policy_share"] <= 1 for line in metrics(run))
    refused = minimind(
        "sft", "--from", teacher, "--on-policy", "1", "--data", data / "sft", "--output", tmp_path / "no", check=False)
    assert refused.returncode != 0 and "--on-policy says how to learn from a teacher" in refused.stderr
