"""MiniMind v1's checkpoints between `minimind convert` and PyTorch, both ways."""

import collections
import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
import transformers  # noqa: E402

#: v1 tiny models, dense and with a mixture of experts.
FIXTURES = ["dense_tiny", "moe_tiny"]


class Hostile:
    """Pickles as a call of a function of the operating system."""

    def __reduce__(self):
        return os.system, ("touch was-executed",)


@pytest.fixture(params=FIXTURES)
def fixture(request, shared):
    """The path of a checkpoint as v1 saved it, and its weights."""
    path = shared / f"fixtures/v1/{request.param}.after.pth"
    return path, torch.load(path, weights_only=True)


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]), name


def test_a_checkpoint_of_ours_loads_into_v1s_names_without_running_code(minimind, fixture, tmp_path):
    path, weights = fixture
    minimind("convert", "--from", path, "--to", tmp_path / "model", "--heads", 4)
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "again.pth")
    ours = torch.load(tmp_path / "again.pth", weights_only=True)
    assert_equal(ours, weights)
    assert ours["output.weight"].data_ptr() == ours["tok_embeddings.weight"].data_ptr()
    assert_equal(torch.load(tmp_path / "again.pth", weights_only=True, mmap=True), weights)


@pytest.mark.parametrize("dtype, name", [(torch.bfloat16, "bf16"), (torch.float16, "fp16")])
def test_types_of_16_bits_go_both_ways(minimind, fixture, tmp_path, dtype, name):
    path, weights = fixture
    torch.save({key: value.to(dtype) for key, value in weights.items()}, tmp_path / "half.pth")
    minimind("convert", "--from", tmp_path / "half.pth", "--to", tmp_path / "again.pth", "--heads", 4)
    assert_equal(torch.load(tmp_path / "again.pth", weights_only=True), torch.load(tmp_path / "half.pth", weights_only=True))
    minimind("convert", "--from", path, "--to", tmp_path / "rounded.pth", "--heads", 4, "--type", name)
    assert_equal(torch.load(tmp_path / "rounded.pth", weights_only=True), torch.load(tmp_path / "half.pth", weights_only=True))


def test_what_training_scripts_save_is_read(minimind, fixture, tmp_path):
    """An OrderedDict with versions as state_dict() gives it, prefixes, parameters, a strided tensor, stray tables."""
    path, weights = fixture
    state = collections.OrderedDict(("module._orig_mod." + name, value.clone()) for name, value in weights.items())
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    wide = torch.zeros(64, 128)
    wide[:, ::2] = weights["layers.0.attention.wo.weight"]
    state["module._orig_mod.layers.0.attention.wo.weight"] = wide[:, ::2]
    state["module._orig_mod.layers.1.attention.wo.weight"] = weights["layers.1.attention.wo.weight"].t().contiguous().t()
    state["module._orig_mod.norm.weight"] = torch.nn.Parameter(weights["norm.weight"])
    state["module._orig_mod.pos_cis"] = torch.polar(torch.ones(8, 8), torch.ones(8, 8))
    state["module._orig_mod.layers.0.attention.mask"] = torch.full((1, 1, 4, 4), float("-inf"))
    torch.save(state, tmp_path / "state.pth")
    # The table of rotations, for heads of 16, says how many heads there are.
    minimind("convert", "--from", tmp_path / "state.pth", "--to", tmp_path / "again.pth")
    assert_equal(torch.load(tmp_path / "again.pth", weights_only=True), weights)
    refused = minimind("convert", "--from", tmp_path / "state.pth", "--to", tmp_path / "m", "--heads", 8, check=False)
    assert refused.returncode == 1 and "Leave out --heads" in refused.stderr


def test_a_hostile_pickle_is_refused_by_name_and_not_run(minimind, fixture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, weights = fixture
    torch.save(dict(weights) | {"norm.weight": Hostile()}, tmp_path / "hostile.pth")
    refused = minimind("convert", "--from", tmp_path / "hostile.pth", "--to", tmp_path / "m", "--heads", 4, check=False)
    assert refused.returncode == 1 and "hostile/data.pkl, byte" in refused.stderr
    assert "asks for posix.system" in refused.stderr and "it was not run" in refused.stderr
    assert not (tmp_path / "was-executed").exists() and not (tmp_path / "m").exists()


def test_a_whole_training_state_and_an_old_file_are_refused_with_what_to_do(minimind, fixture, tmp_path):
    path, weights = fixture
    torch.save({"model": weights, "epoch": 3}, tmp_path / "state.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name, text in (("state.pth", "must hold a model's state_dict()"), ("old.pth", "Save an older file again")):
        refused = minimind("convert", "--from", tmp_path / name, "--to", tmp_path / "m", "--heads", 4, check=False)
        assert refused.returncode == 1 and text in refused.stderr


def test_v1s_model_continues_as_v1_did(minimind, shared, tmp_path):
    """The golden fixture's greedy continuation, through the converted directory and transformers."""
    golden = load_file(shared / "fixtures/v1/dense_tiny.safetensors")
    weights = {name.removeprefix("weight."): value for name, value in golden.items() if name.startswith("weight.")}
    weights["tok_embeddings.weight"] = weights["output.weight"]
    torch.save(weights, tmp_path / "v1.pth")
    minimind("convert", "--from", tmp_path / "v1.pth", "--to", tmp_path / "model", "--heads", 4)
    assert json.loads((tmp_path / "model/config.json").read_text())["num_key_value_heads"] == 2
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32, local_files_only=True)
    with torch.no_grad():
        logits = model.eval()(golden["input_ids"].long()).logits
    assert torch.allclose(logits, golden["logits"], atol=1e-4 * golden["logits"].abs().max())
