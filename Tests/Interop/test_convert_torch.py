"""MiniMind's checkpoints, of v1 and later versions, between `minimind convert` and PyTorch, both ways."""

import collections
import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import peft  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from test_transformers import by_checkpoint_names  # noqa: E402
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


#: Tiny models with the shapes of later versions of MiniMind, whose code has the names of these classes.
LATER = {
    "MiniMind2": lambda sizes: transformers.LlamaConfig(**sizes, num_key_value_heads=2, rms_norm_eps=1e-5),
    "MiniMind 3": lambda sizes: transformers.Qwen3Config(**sizes, num_key_value_heads=4, head_dim=8, rms_norm_eps=1e-6),
    "MiniMind 3, mixture": lambda sizes: transformers.Qwen3MoeConfig(
        **sizes, num_key_value_heads=4, head_dim=8, rms_norm_eps=1e-6, num_experts=4, num_experts_per_tok=1,
        norm_topk_prob=True, moe_intermediate_size=96),
}


@pytest.fixture(params=LATER)
def later(request, tmp_path):
    """The path of such a checkpoint, in half precision as MiniMind saves it, its weights, and the model in fp32."""
    sizes = dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8, vocab_size=120, bos_token_id=1,
        eos_token_id=2, tie_word_embeddings=True, max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(LATER[request.param](sizes), attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1 if weight.dim() == 1 else 0, 0.2)
            weight.copy_(weight.half())
    weights = {name: torch.from_numpy(value).half() for name, value in by_checkpoint_names(model, lambda weight: weight).items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    torch.save(weights, tmp_path / "full_sft_64.pth")
    return tmp_path / "full_sft_64.pth", weights, model


def assert_same_model(directory, model):
    tokens = torch.arange(3, 63).reshape(2, 30)
    converted = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", local_files_only=True)
    with torch.no_grad():
        ours, theirs = converted.eval()(tokens).logits, model(tokens).logits
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_checkpoints_of_later_versions_go_both_ways_without_options(minimind, later, tmp_path):
    path, weights, model = later
    minimind("convert", "--from", path, "--to", tmp_path / "model")
    assert_same_model(tmp_path / "model", model)
    # A mixture's routers are fp32 in a directory, which therefore goes into half precision only where that is asked for.
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "again.pth", "--type", "fp16")
    ours = torch.load(tmp_path / "again.pth", weights_only=True)
    assert_equal(ours, weights)
    assert ours["lm_head.weight"].data_ptr() == ours["model.embed_tokens.weight"].data_ptr()


def test_minimind_s_own_adapters_go_both_ways(minimind, later, tmp_path):
    path, weights, model = later
    modules = [f"model.layers.{layer}.self_attn.{name}" for layer in range(2) for name in ("q_proj", "o_proj")]
    lora = {}
    for module in modules:
        lora[f"{module}.lora.A.weight"] = (0.3 * torch.randn(16, 64)).half()
        lora[f"{module}.lora.B.weight"] = (0.3 * torch.randn(64, 16)).half()
    torch.save(lora, tmp_path / "lora_medical_64.pth")
    minimind("convert", "--from", path, "--to", tmp_path / "base")
    minimind("merge", "--adapter", tmp_path / "lora_medical_64.pth", "--from", tmp_path / "base", "--to", tmp_path / "merged")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for module in modules:
            a, b = lora[f"{module}.lora.A.weight"].float(), lora[f"{module}.lora.B.weight"].float()
            parameters[f"{module}.weight"] += b @ a
    assert_same_model(tmp_path / "merged", model)
    refused = minimind("merge", "--adapter", tmp_path / "lora_medical_64.pth", "--to", tmp_path / "m", check=False)
    assert refused.returncode == 2 and "give it by --from" in refused.stderr

    # The way back: an adapter of peft with a scale, as MiniMind would have it, without one.
    adapter = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32, local_files_only=True),
        peft.LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "o_proj"], init_lora_weights=False))
    adapter.save_pretrained(tmp_path / "adapter")
    minimind("convert", "--from", tmp_path / "adapter", "--to", tmp_path / "lora.pth", "--format", "lora")
    ours = torch.load(tmp_path / "lora.pth", weights_only=True)
    theirs = {name.replace(".default", "").removeprefix("base_model.model."): value.detach()
              for name, value in adapter.named_parameters() if "lora_" in name}
    assert ours.keys() == {name.replace("lora_", "lora.") for name in theirs}
    for name, value in theirs.items():
        assert torch.allclose(ours[name.replace("lora_", "lora.")], value * (1.5 if "lora_B" in name else 1), rtol=1e-6)
