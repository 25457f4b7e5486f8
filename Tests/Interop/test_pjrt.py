"""The programs that are made for GPUs, compiled by XLA for a processor: a plugin of PJRT runs what the interpreter runs in
`make test`. The plugin is one person's package, for tests alone, and pinned by its hash (scripts/requirements-plugin.txt)."""

import json
import os
import re
import subprocess
import sys

import pytest

from conftest import REPOSITORY, wait_until

pytestmark = pytest.mark.heavy

#: Has the plugin take the processor for two devices.
TWO_DEVICES = "--xla_force_host_platform_device_count=2"


@pytest.fixture(scope="module")
def plugin():
    """The file of the plugin that `make interop` installs."""
    paths = list(REPOSITORY.glob(".venv-plugin/lib/python*/site-packages/lammps_jax_pjrt_cpu/*.so"))
    assert len(paths) == 1, "no plugin: make interop installs it"
    return str(paths[0])


def test_the_tests_of_engines_pass_on_a_plugin(plugin):
    completed = subprocess.run(
        ["swift", "test", "-c", "release", "--skip-build", "--filter", "PJRTTests|TrainingEngineTests|DistillationEngineTests|ScoringEngineTests"], cwd=REPOSITORY,
        env=os.environ | {"MINIMIND_PJRT_PLUGIN": plugin, "XLA_FLAGS": TWO_DEVICES}, capture_output=True, text=True)
    output = completed.stdout + completed.stderr
    assert completed.returncode == 0, output[-4000:]
    # Not skipped for want of a plugin: golden data on it are among the cases.
    assert "skipped" not in output, output[-4000:]
    assert re.search(r'"each operation gives what the interpreter gives" passed', output), output[-4000:]
    assert re.search(r'five Adam steps are PyTorch\'s" with 14 test cases passed', output), output[-4000:]


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
    (folder / "judged.jsonl").write_text("\n".join(
        json.dumps({"prompt": f"line {number}?", "completion": line[:80], "label": number % 3 == 0})
        for number, line in enumerate(lines[:200])))
    (folder / "tasks.jsonl").write_text("\n".join(
        json.dumps({"messages": [{"role": "user", "content": f"line {number}?"}], "check": {"kind": "pattern", "pattern": "e"}})
        for number in range(60)))
    for kind, file in (("pretrain", "text.txt"), ("sft", "rows.jsonl"), ("dpo", "pairs.jsonl"), ("kto", "judged.jsonl"),
                       ("grpo", "tasks.jsonl")):
        minimind("data", kind, "--input", folder / file, "--tokenizer", tokenizer_directory, "--output", folder / kind)
    tokenizer = json.loads((tokenizer_directory / "tokenizer.json").read_text())
    # What a device computes is compiled layer by layer; two of them show what five would.
    (folder / "two-layers.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 352,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "vocab_size": len({*tokenizer["model"]["vocab"], *(token["content"] for token in tokenizer["added_tokens"])})}))
    return folder


@pytest.fixture(scope="module")
def device(plugin, binary, tmp_path_factory):
    """Runs the program with the plugin as its GPU: `device("pretrain", …)`; the process that has ended. What is named
    besides is in its environment."""
    environment = os.environ | {
        "MINIMIND_PJRT_PLUGIN": plugin, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    def run(*arguments, check=True, launcher=(), **more):
        completed = subprocess.run(
            [*launcher, binary, *map(str, arguments)], env=environment | more, capture_output=True, text=True, stdin=subprocess.DEVNULL)
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
def test_two_devices_equal_one(folder, device, optimizer, rate):
    options = ["pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--steps", 10, "--optimizer", optimizer,
               "--learning-rate", rate, "--device", "gpu", *SMALL]
    device(*options, "--output", folder / f"one-{optimizer}")
    for copy in "ab":
        device(*options, "--devices", 2, "--output", folder / f"two-{optimizer}-{copy}", XLA_FLAGS=TWO_DEVICES)
    expected, found = losses(folder / f"one-{optimizer}"), losses(folder / f"two-{optimizer}-a")
    assert expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-5 * loss for step, loss in expected.items())
    first, second = ((folder / f"two-{optimizer}-{copy}/model/model.safetensors").read_bytes() for copy in "ab")
    assert first == second


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
    options = ["pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--steps", 12, "--device", "gpu",
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
    options = ["pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--schedule", "constant", *SMALL]
    minimind(*options, "--steps", 10, "--output", folder / "stays")
    device(*options, "--steps", 2, "--device", "gpu", "--output", folder / "moves")
    assert '"device"' in (folder / "moves/training.json").read_text()
    resumed = minimind("pretrain", "--resume", folder / "moves", "--device", "cpu", "--steps", 4)
    assert "begun on" in resumed.stdout and "PJRT 0." in resumed.stdout
    device("pretrain", "--resume", folder / "moves", "--device", "gpu", "--steps", 6)
    two = device("pretrain", "--resume", folder / "moves", "--device", "gpu", "--devices", 2, "--steps", 8, XLA_FLAGS=TWO_DEVICES)
    assert "2 ×" in two.stdout
    device("pretrain", "--resume", folder / "moves", "--devices", 1, "--steps", 10)
    expected, found = losses(folder / "stays"), losses(folder / "moves")
    assert expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-3 * loss for step, loss in expected.items())


@pytest.fixture(scope="module")
def base(folder, device):
    """A model that the other stages begin with."""
    device("pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--steps", 2, "--device", "gpu", *SMALL, "--output",
           folder / "base")
    return folder / "base"


def test_every_stage_runs(folder, base, minimind, device):
    device("pretrain", "--model", "moe", "--data", folder / "pretrain", "--steps", 1, "--device", "gpu", "--precision",
           "bf16", "--micro-batch-tokens", 256, "--batch-tokens", 256, "--eval-tokens", 500, "--output", folder / "moe")
    teacher = ["--teacher", base, "--distill-beta", "0.5"]
    for number, (stage, data, extra) in enumerate((
            ("sft", "sft", []), ("sft", "sft", teacher), ("lora", "sft", ["--lora-rank", "2"]), ("lora", "sft", teacher),
            ("dpo", "dpo", []), ("dpo", "dpo", ["--lora-rank", "4", "--recompute-activations"]),
            *(("dpo", "dpo", ["--loss", loss]) for loss in ("simpo", "orpo", "robust", "hinge")), ("kto", "kto", []))):
        output = folder / f"stage-{number}"
        device(stage, "--from", base, "--data", folder / data, "--steps", 2, "--device", "gpu", *extra, *SMALL,
               "--output", output)
        assert len(losses(output)) == 2
    answers = ["--data", folder / "grpo", "--prompts-per-step", 2, "--answers", 2, "--answer-tokens", 8, "--micro-batch-tokens", 256,
               "--precision", "fp32", "--eval-tokens", 100]
    for loss, beta in (("dapo", 0), ("gspo", 0.1)):
        output = folder / f"answers-{loss}"
        device("grpo", "--from", base, *answers, "--steps", 2, "--device", "gpu", "--loss", loss, "--beta", beta, "--output", output)
        assert len(losses(output)) == 2
    # Answers are drawn by the processor, with the same weights; so values and losses are compared, too.
    minimind("ppo", "--from", base, *answers, "--steps", 2, "--passes", 1, "--output", folder / "ppo-cpu")
    device("ppo", "--from", base, *answers, "--steps", 2, "--passes", 1, "--device", "gpu", "--output", folder / "ppo-gpu")
    expected, found = losses(folder / "ppo-cpu"), losses(folder / "ppo-gpu")
    assert len(expected) == 2 and expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-3 * abs(loss) + 1e-6 for step, loss in expected.items())


def test_a_teacher_and_scores_are_those_of_the_processor(folder, base, minimind, device):
    # Adam divides a gradient by its size: a higher rate makes roundings of scores, which begin near each other, larger than 1e-3.
    common = ["--steps", 4, "--learning-rate", "0.0001", *SMALL]
    runs = {
        "student": ["pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--teacher", base, "--distill-beta", "0.2"],
        "scorer": ["reward", "--from", base, "--data", folder / "dpo"]}
    for name, options in runs.items():
        minimind(*options, *common, "--output", folder / f"{name}-cpu")
        device(*options, *common, "--device", "gpu", "--output", folder / f"{name}-gpu")
        expected, found = losses(folder / f"{name}-cpu"), losses(folder / f"{name}-gpu")
        assert len(expected) == 4 and expected.keys() == found.keys()
        assert all(abs(found[step] - loss) <= 1e-3 * loss for step, loss in expected.items())
    options = ["eval", "reward", "--model", folder / "scorer-cpu", "--input", folder / "pairs.jsonl", "--precision", "fp32",
               "--json"]
    expected, found = json.loads(minimind(*options).stdout), json.loads(device(*options, "--device", "gpu").stdout)
    assert found["pairs"] == expected["pairs"] == 200 and abs(found["mean_score"] - expected["mean_score"]) <= 1e-5


MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]


def test_two_processes_equal_one(folder, device):
    options = ["pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--steps", 6, "--learning-rate", "0.003",
               "--schedule", "constant", "--optimizer", "muon", "--device", "gpu", "--threads", 1, *SMALL]
    device(*options, "--output", folder / "one-process")
    for copy in "ab":
        device(*options, "--output", folder / f"processes-{copy}", launcher=MPIRUN)
    expected, found = losses(folder / "one-process"), losses(folder / "processes-a")
    assert expected.keys() == found.keys()
    assert all(abs(found[step] - loss) <= 1e-5 * loss for step, loss in expected.items())
    model = "model/model.safetensors"
    first, second = ((folder / f"processes-{copy}" / model).read_bytes() for copy in "ab")
    assert first == second
    # From two to one and back, with devices of their own each.
    device("pretrain", "--resume", folder / "processes-b", "--steps", 8)
    device("pretrain", "--resume", folder / "processes-b", "--steps", 10, "--devices", 2, launcher=MPIRUN, XLA_FLAGS=TWO_DEVICES)
    device("pretrain", "--resume", folder / "one-process", "--steps", 10)
    expected, found = losses(folder / "one-process"), losses(folder / "processes-b")
    assert len(found) == 10 and all(abs(found[step] - loss) <= 1e-5 * loss for step, loss in expected.items())


def test_what_cannot_be_is_refused_by_name(folder, base, minimind, device):
    common = ["--data", folder / "sft", "--from", base, "--device", "gpu", "--output", folder / "refused"]
    # Without a plugin, and with a file that is none.
    environment = {key: value for key, value in os.environ.items() if key not in ("MINIMIND_PJRT_PLUGIN", "VIRTUAL_ENV")}
    for plugin, words in ((None, "no plugin for a GPU"), (str(folder / "text.txt"), "text.txt")):
        completed = subprocess.run(
            [os.environ.get("MINIMIND", REPOSITORY / ".build/release/minimind"), "sft", *map(str, common)],
            env=environment | ({"MINIMIND_PJRT_PLUGIN": plugin} if plugin else {}), capture_output=True, text=True)
        assert completed.returncode == 1 and words in completed.stderr and "MINIMIND_PJRT_PLUGIN" in completed.stderr
    assert not (folder / "refused").exists()
    assert "by PJRT 0." in device("info").stdout and "PJRT" in minimind("info").stdout


def test_a_model_is_measured_on_the_device(folder, base, minimind, device):
    options = ["eval", "perplexity", "--model", base, "--data", folder / "pretrain", "--precision", "fp32", "--json"]
    expected, found = json.loads(minimind(*options).stdout), json.loads(device(*options, "--device", "gpu").stdout)
    assert found["tokens"] == expected["tokens"] and abs(found["loss"] - expected["loss"]) <= 1e-5 * expected["loss"]
    for extra, words in ((["--device", "gpu", "--devices", "64"], "the plugin has"), (["--devices", "2"], "--device gpu")):
        refused = device("pretrain", "--model", folder / "two-layers.json", "--data", folder / "pretrain", "--output", folder / "none", *extra, check=False)
        assert refused.returncode == 1 and words in refused.stderr
    refused = device(*options[:-3], "--type", "q8", "--device", "gpu", check=False)
    assert refused.returncode != 0 and "--device" in refused.stderr


def test_a_step_is_compiled_and_not_run(device):
    plan = json.loads(device("bench", "plan", "--model", "tiny", "--micro-batch-tokens", 1024, "--json").stdout)
    attention, feed_forward, embedding = 2 * 256 * 256 + 2 * 128 * 256, 3 * 256 * 704, 6400 * 256
    # Two operations for each weight forward, two again in recomputation, which needs no product with the last matrix, and four
    # backward; attention has eight products of each token with a window of 512 and a block of 64.
    weights = 5 * (8 * (attention + feed_forward) - 2 * 256 * 704) + 6 * embedding
    assert plan["gradients"]["product_operations"] == 1024 * (weights + 5 * 8 * 2 * 576 * 256)
    assert plan["kept_bytes"] < plan["needed_bytes"] < plan["kept_bytes"] + (1 << 30)


def test_training_compiles_for_a_card_that_is_not_there(binary, tmp_path):
    subprocess.run(
        [sys.executable, REPOSITORY / "scripts/gpu_plan.py", "--binary", binary, "--models", "tiny", "--cards", "rtx-3090",
         "--micro-batch-tokens", "8192", "--json", tmp_path / "plan.json", "--no-document"], check=True)
    [plan] = json.loads((tmp_path / "plan.json").read_text())
    # Ceilings a tenth above what they are, so that nothing grows unseen.
    assert plan["attention"] == "kernel"
    assert 0 < plan["gradients"]["temporary_bytes"] < 218 << 20
    assert 0 < plan["gradients"]["kernels"] < 428
    assert plan["kept_bytes"] < plan["needed_bytes"] < plan["kept_bytes"] + (220 << 20)


def test_the_check_of_a_gpu_runs_whole(plugin, device, tmp_path):
    completed = subprocess.run(
        [REPOSITORY / "scripts/gpu_check.sh", "--models", "tiny", "--micro-batch-tokens", "512", "--sequence-length", "128",
         "--steps", "2", "--peer-device", "cpu", "--eager", "--tests", "PJRTRunnerTests", "--output", tmp_path],
        env=device.environment | {"PEER_PYTHON": sys.executable}, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert "not_measured" not in json.dumps(record), record
    assert record["repeats"] is True and record["golden"] >= 4 and record["seconds"] < 600
    assert record["minimind tiny"]["tokens_per_second"] > 0 and record["PyTorch tiny"]["tokens_per_second"] > 0
    assert (tmp_path / "gpu.md").read_text() in completed.stdout
