"""The programs that are made for GPUs, compiled by XLA for a processor: a plugin of PJRT runs what the interpreter runs in
`make test`. The plugin is one person's package, for tests alone, and pinned by its hash (scripts/requirements-plugin.txt)."""

import json
import os
import re
import subprocess

import pytest

from conftest import REPOSITORY, wait_until

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def plugin():
    """The file of the plugin that `make interop` installs."""
    paths = list(REPOSITORY.glob(".venv-plugin/lib/python*/site-packages/lammps_jax_pjrt_cpu/*.so"))
    assert len(paths) == 1, "no plugin: make interop installs it"
    return str(paths[0])


def test_the_tests_of_engines_pass_on_a_plugin(plugin):
    completed = subprocess.run(
        ["swift", "test", "-c", "release", "--skip-build", "--filter", "PJRTTests|TrainingEngineTests"], cwd=REPOSITORY,
        env=os.environ | {"MINIMIND_PJRT_PLUGIN": plugin}, capture_output=True, text=True)
    output = completed.stdout + completed.stderr
    assert completed.returncode == 0, output[-4000:]
    # Not skipped for want of a plugin: golden data on it are among the cases.
    assert "skipped" not in output, output[-4000:]
    assert re.search(r'"each operation gives what the interpreter gives" passed', output), output[-4000:]
    assert re.search(r'five Adam steps are PyTorch\'s" with 10 test cases passed', output), output[-4000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, minimind, tokenizer_directory):
    """Data of every kind, from this project's documents."""
    folder = tmp_path_factory.mktemp("pjrt")
    lines = [line for path in sorted((REPOSITORY / "docs").glob("*.md")) for line in path.read_text().splitlines()
             if len(line) > 60]
    (folder / "text.txt").write_text("\n".join(lines))
    (folder / "rows.jsonl").write_text(
        "\n".join(json.dumps({"q": f"line {number}?", "a": line}) for number, line in enumerate(lines[:200])))
    (folder / "pairs.jsonl").write_text("\n".join(
        json.dumps({"prompt": f"line {number}?", "chosen": line[:80], "rejected": line[80::-1]})
        for number, line in enumerate(lines[:200])))
    for kind, file in (("pretrain", "text.txt"), ("sft", "rows.jsonl"), ("dpo", "pairs.jsonl")):
        minimind("data", kind, "--input", folder / file, "--tokenizer", tokenizer_directory, "--output", folder / kind)
    return folder


@pytest.fixture(scope="module")
def device(plugin, binary, tmp_path_factory):
    """Runs the program with the plugin as its GPU: `device("pretrain", …)`; the process that has ended."""
    environment = os.environ | {
        "MINIMIND_PJRT_PLUGIN": plugin, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}

    def run(*arguments, check=True):
        completed = subprocess.run(
            [binary, *map(str, arguments)], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert not check or completed.returncode == 0, completed.stderr
        return completed

    run.environment = environment
    return run


def losses(run):
    """The loss of each step, from the metrics of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["train/global_step"]: row["train/loss"] for row in rows if "train/loss" in row}


SMALL = ["--batch-tokens", "512", "--micro-batch-tokens", "256", "--precision", "fp32"]


@pytest.mark.parametrize("optimizer, rate", [("adamw", "0.001"), ("muon", "0.003")])
def test_fifty_steps_follow_the_processor(folder, minimind, device, optimizer, rate):
    options = ["pretrain", "--model", "tiny", "--data", folder / "pretrain", "--steps", 50, "--optimizer", optimizer,
               "--learning-rate", rate, *SMALL]
    minimind(*options, "--output", folder / f"cpu-{optimizer}")
    device(*options, "--device", "gpu", "--output", folder / f"gpu-{optimizer}")
    expected, found = losses(folder / f"cpu-{optimizer}"), losses(folder / f"gpu-{optimizer}")
    assert len(expected) == 50 and expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-3 * loss for step, loss in expected.items())


def test_a_killed_run_goes_on_to_the_same_weights(folder, device, binary):
    options = ["pretrain", "--model", "tiny", "--data", folder / "pretrain", "--steps", 12, "--device", "gpu",
               "--checkpoint-interval", 4, "--eval-interval", 4, *SMALL]
    device(*options, "--output", folder / "whole")
    killed = folder / "killed"
    process = subprocess.Popen(
        [binary, *map(str, options), "--output", str(killed)], env=device.environment, stdout=subprocess.DEVNULL)
    wait_until(lambda: list(killed.glob("checkpoints/step-4")), "no checkpoint", process)
    process.kill()
    process.wait()
    device("pretrain", "--resume", killed)
    model = "model/model.safetensors"
    assert (killed / model).read_bytes() == (folder / "whole" / model).read_bytes()


def test_a_run_moves_between_devices(folder, minimind, device):
    options = ["pretrain", "--model", "tiny", "--data", folder / "pretrain", "--schedule", "constant", *SMALL]
    minimind(*options, "--steps", 6, "--output", folder / "stays")
    device(*options, "--steps", 2, "--device", "gpu", "--output", folder / "moves")
    minimind("pretrain", "--resume", folder / "moves", "--device", "cpu", "--steps", 4)
    device("pretrain", "--resume", folder / "moves", "--device", "gpu", "--steps", 6)
    expected, found = losses(folder / "stays"), losses(folder / "moves")
    assert expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-3 * loss for step, loss in expected.items())


@pytest.fixture(scope="module")
def base(folder, device):
    """A model that the other stages begin with."""
    device("pretrain", "--model", "tiny", "--data", folder / "pretrain", "--steps", 2, "--device", "gpu", *SMALL, "--output",
           folder / "base")
    return folder / "base"


def test_every_stage_runs(folder, base, device):
    device("pretrain", "--model", "moe", "--data", folder / "pretrain", "--steps", 1, "--device", "gpu", "--precision",
           "bf16", "--micro-batch-tokens", 256, "--batch-tokens", 256, "--eval-tokens", 500, "--output", folder / "moe")
    for stage, data, extra in (
            ("sft", "sft", []), ("lora", "sft", ["--lora-dropout", "0"]), ("dpo", "dpo", []),
            ("dpo", "dpo", ["--lora-rank", "4", "--lora-dropout", "0", "--recompute-activations"])):
        output = folder / f"{stage}-{len(extra)}"
        device(stage, "--from", base, "--data", folder / data, "--steps", 2, "--device", "gpu", *extra, *SMALL,
               "--output", output)
        assert len(losses(output)) == 2


def test_what_cannot_be_is_refused_by_name(folder, base, minimind, device):
    common = ["--data", folder / "sft", "--from", base, "--device", "gpu", "--output", folder / "refused"]
    completed = device("lora", *common, check=False)
    assert completed.returncode == 1 and "--lora-dropout 0" in completed.stderr
    # Without a plugin, and with a file that is none.
    environment = {key: value for key, value in os.environ.items() if key not in ("MINIMIND_PJRT_PLUGIN", "VIRTUAL_ENV")}
    for plugin, words in ((None, "no plugin for a GPU"), (str(folder / "text.txt"), "text.txt")):
        completed = subprocess.run(
            [os.environ.get("MINIMIND", REPOSITORY / ".build/release/minimind"), "sft", *map(str, common)],
            env=environment | ({"MINIMIND_PJRT_PLUGIN": plugin} if plugin else {}), capture_output=True, text=True)
        assert completed.returncode == 1 and words in completed.stderr and "MINIMIND_PJRT_PLUGIN" in completed.stderr
    assert not (folder / "refused").exists()
    assert "by PJRT 0." in device("info").stdout and "PJRT" in minimind("info").stdout
