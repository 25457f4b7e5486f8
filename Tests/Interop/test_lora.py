"""The commands `lora` and `merge` as processes, and an adapter wherever a MODEL is asked for."""

import json
import shutil
import signal

import pytest
from conftest import PATIENCE
from safetensors import safe_open
from safetensors.numpy import load_file
from test_training import FEW, data, losses, pretraining, start, wait_for_step  # noqa: F401


@pytest.fixture(scope="module")
def base(minimind, data, tmp_path_factory):
    run = tmp_path_factory.mktemp("base") / "run"
    minimind(*pretraining(data, run, "--steps", 30, "--learning-rate", 0.01))
    return run


def adapting(base, data, output, *options):
    return ["lora", "--from", base, "--data", data / "sft", "--output", output, "--learning-rate", 0.02,
            "--lora-rank", 4, *FEW, *options]


@pytest.fixture(scope="module")
def adapter(minimind, base, data, tmp_path_factory):
    run = tmp_path_factory.mktemp("adapter") / "run"
    output = minimind(*adapting(base, data, run, "--steps", 20)).stdout
    assert "rank 4, alpha 16, dropout 0.1 on q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj" in output
    return run


@pytest.fixture(scope="module")
def merged(minimind, adapter, tmp_path_factory):
    directory = tmp_path_factory.mktemp("merged") / "model"
    minimind("merge", "--adapter", adapter, "--to", directory)
    return directory


def test_files(base, adapter):
    config = json.loads((adapter / "model/adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["r"] == 4 and config["lora_alpha"] == 16
    assert config["base_model_name_or_path"] == str(base / "model")
    weights = load_file(adapter / "model/adapter_model.safetensors")
    assert weights["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"].shape == (4, 64)
    assert weights["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"].shape == (32, 4)
    assert len(weights) == 2 * 7 * 2
    options = json.loads((adapter / "training.json").read_text())["options"]
    assert options["lora-rank"] == 4


def test_any_command_takes_an_adapter(minimind, base, data, adapter, merged, tmp_path):
    """Run, checkpoint and directory of an adapter, and the merged model, are the same model."""
    def answer(model):
        return minimind("generate", "--model", model, "--prompt", "Anna sees", "--temperature", 0, "--max-tokens", 12,
                        "--type", "fp32").stdout

    def loss(model):
        return json.loads(minimind("eval", "perplexity", "--model", model, "--input", data / "text.txt", "--json").stdout)["loss"]

    models = [adapter, adapter / "checkpoints/step-20", adapter / "model", merged]
    assert len({answer(model) for model in models}) == 1
    assert len({loss(model) for model in models}) == 1
    info = [json.loads(minimind("info", model, "--json").stdout) for model in models]
    assert len({facts["parameters"] for facts in info}) == 1
    assert info[0]["base"] == str(base / "model") and "base" not in info[3]
    # The whole model can be trained on from an adapter.
    minimind("sft", "--from", adapter, "--data", data / "sft", "--output", tmp_path / "sft", "--steps", 2, *FEW)
    assert (tmp_path / "sft/model/model.safetensors").exists()


def test_resumes(minimind, start, base, data, tmp_path):
    """Interrupted and resumed: the same bits, dropout included."""
    options = ["--epochs", 24]
    minimind(*adapting(base, data, tmp_path / "whole", *options))
    run = tmp_path / "run"
    process = start(*adapting(base, data, run, *options))
    wait_for_step(run, 3, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    minimind("lora", "--resume", run)
    name = "model/adapter_model.safetensors"
    assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert losses(run) == losses(tmp_path / "whole")


def test_refused(minimind, base, data, adapter, merged, tmp_path):
    output = tmp_path / "out"
    other = tmp_path / "other"
    minimind(*pretraining(data, other, "--steps", 1))
    cases = [
        (1, "was trained on other weights", ["merge", "--adapter", adapter, "--from", other, "--to", output]),
        (1, "is merged into", ["merge", "--adapter", adapter, "--from", merged, "--to", output]),
        (1, "is not an adapter", ["merge", "--adapter", base, "--to", output]),
        (1, "is itself an adapter", ["merge", "--adapter", adapter, "--from", adapter, "--to", output]),
        (1, "exists already", ["merge", "--adapter", adapter, "--to", merged]),
        (1, "minimind merge --adapter", adapting(adapter, data, output)),
        (1, "cannot be resumed with another --lora-rank", ["lora", "--resume", adapter, "--lora-rank", 8]),
        (1, "need a --lora-rank above 0", [
            "sft", "--from", base, "--data", data / "sft", "--output", output, "--lora-dropout", 0.5]),
        (2, "--lora-targets has \"gate\"; it can have q_proj", adapting(base, data, output, "--lora-targets", "gate")),
        (2, "--lora-rank is 0", ["lora", "--from", base, "--data", data / "sft", "--output", output, "--lora-rank", 0]),
        (2, "--lora-rank", pretraining(data, output, "--lora-rank", 4)),
    ]
    for code, words, arguments in cases:
        refused = minimind(*arguments, check=False)
        assert refused.returncode == code, (arguments, refused)
        assert words in refused.stderr and refused.stderr.count("\n") == 1, (arguments, refused.stderr)
        assert not output.exists(), arguments


def test_base_that_is_gone(minimind, base, data, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    minimind(*adapting(tmp_path / "base", data, tmp_path / "run", "--steps", 2))
    shutil.move(tmp_path / "base", tmp_path / "moved")
    refused = minimind("generate", "--model", tmp_path / "run", "--prompt", "a", check=False)
    assert refused.returncode == 1
    assert "where there is no model (config.json)" in refused.stderr and "--from BASE" in refused.stderr
    minimind("merge", "--adapter", tmp_path / "run", "--from", tmp_path / "moved", "--to", tmp_path / "merged")
    with safe_open(tmp_path / "merged/model.safetensors", "np") as file:
        assert len(file.metadata()["minimind.merged_adapters"]) == 64
