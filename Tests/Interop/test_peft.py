"""Adapters between this program and `peft`, both ways: logits, merging, and the gradients of a step.

Ours come out of `interop-probe`, a test executable around the training pass (Tests/InteropProbe). Everything runs in
fp32; no test reaches for a network.
"""

import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import peft  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from test_transformers import (  # noqa: E402
    assert_same_logits, configuration, our_logits, random_documents, their_logits)

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MIXTURE = {
    "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_intermediate_size": 48,
    "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 0,
    "moe_layer_end_index": -1, "moe_layer_interval": 1, "use_bias": False,
    "router_aux_loss_coef": 0.0}
MODELS = {
    "llama": lambda: configuration("tied"),
    "qwen": lambda: configuration("q/k norms, untied"),
    "mixture": lambda: configuration("tied") | MIXTURE,
}


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", local_files_only=True).eval()


@pytest.fixture(scope="module")
def base(probe, tokenizer_directory, tmp_path_factory):
    """A model directory of random weights: `base("llama")`."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            (folder / "config.json").write_text(json.dumps(MODELS[name]()))
            probe("create", folder / "config.json", 3, "float32", tokenizer_directory, folder / "base")
            made[name] = folder / "base"
        return made[name]

    return make


@pytest.fixture(scope="module")
def conversations(minimind, tokenizer_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("conversations")
    rows = [{"q": f"what is {a} plus {b}?", "a": f"{a} plus {b} is {a + b}."} for a in range(12) for b in range(12)]
    (folder / "chat.jsonl").write_text("\n".join(map(json.dumps, rows)))
    minimind("data", "sft", "--input", folder / "chat.jsonl", "--tokenizer", tokenizer_directory, "--output", folder / "data")
    return folder / "data"


def train(minimind, base, conversations, output, *options):
    """An adapter that has moved: a few steps at a high rate."""
    minimind(
        "lora", "--from", base, "--data", conversations, "--output", output, "--steps", 8, "--learning-rate", 0.02,
        "--batch-tokens", 512, "--micro-batch-tokens", 256, "--sequence-length", 256, "--precision", "fp32", *options)
    return output


def random_adapter(model, folder, generator, **settings):
    """An adapter made by `peft`, with A and B both random."""
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.from_numpy(generator.normal(0, 0.2, tuple(parameter.shape)).astype("float32")))
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [[], ["--lora-targets", "k_proj", "o_proj", "--lora-rank", 3, "--lora-alpha", 5]])
def test_ours_in_peft(minimind, probe, base, conversations, tmp_path, name, options):
    run = train(minimind, base(name), conversations, tmp_path / "run", *options)
    documents = random_documents()
    plain = their_logits(load(base(name)), documents)
    model = peft.PeftModel.from_pretrained(load(base(name)), run / "model").eval()
    theirs = their_logits(model, documents)
    # It has learned something, or equality would say nothing.
    assert numpy.abs(theirs - plain).max() > 0.02 * numpy.abs(plain).max()
    assert_same_logits(our_logits(probe, tmp_path, run, documents), theirs)
    # The base is found from the adapter alone, as with any adapter.
    config = peft.PeftConfig.from_pretrained(run / "model")
    assert os.path.samefile(config.base_model_name_or_path, base(name))

    minimind("merge", "--adapter", run, "--to", tmp_path / "merged")
    merged = their_logits(load(tmp_path / "merged"), documents)
    assert_same_logits(merged, theirs)
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "merged", documents), theirs)


#: `peft` turns gate_proj, up_proj, down_proj and all-linear of a mixture into parameters of its routed experts.
ATTENTION_ONLY = "mixture"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("settings", [
    dict(r=4, lora_alpha=7, target_modules=["q_proj", "v_proj"]),
    dict(r=2, lora_alpha=3, target_modules="all-linear"),
    dict(r=4, lora_alpha=8, target_modules=r".*layers\.[01]\..*\.(o_proj|down_proj)"),
    dict(r=4, lora_alpha=8, target_modules=TARGETS, rank_pattern={"k_proj": 2, r"layers\.1\.self_attn\.q_proj": 6},
         alpha_pattern={"self_attn.v_proj": 20}),
    dict(r=9, lora_alpha=8, target_modules=TARGETS, use_rslora=True, layers_to_transform=[0, 2]),
    dict(r=4, lora_alpha=8, target_modules=["up_proj"], init_lora_weights="gaussian", lora_dropout=0.3),
    dict(r=4, lora_alpha=8, target_modules=r".*layers\.[02]\..*\.[qko]_proj", alpha_pattern={"o_proj": 3}),
])
def test_peft_here(minimind, probe, base, tmp_path, name, settings):
    if name == ATTENTION_ONLY and any(word in str(settings["target_modules"]) for word in ["all-linear", "up_", "down_"]):
        pytest.skip("peft does not adapt these as linear layers in a mixture")
    documents = random_documents()
    model = random_adapter(load(base(name)), tmp_path / "adapter", numpy.random.default_rng(5), **settings)
    theirs = their_logits(model, documents)
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "adapter", documents), theirs)
    minimind("merge", "--adapter", tmp_path / "adapter", "--to", tmp_path / "merged")
    assert_same_logits(their_logits(load(tmp_path / "merged"), documents), theirs)


@pytest.mark.parametrize("settings, words", [
    (dict(target_modules=["q_proj"], use_dora=True), "use_dora is true"),
    (dict(target_modules=["q_proj"], bias="all"), "bias is \"all\""),
    (dict(target_modules=["q_proj"], modules_to_save=["lm_head"]), "modules_to_save"),
    (dict(target_modules=["q_proj", "lm_head"]), "'base_model.model.lm_head.base_layer.weight' is no lora_A"),
    (dict(target_modules=["embed_tokens"]), "'base_model.model.model.embed_tokens.base_layer.weight' is no lora_A"),
    (dict(target_modules=["q_proj"], alpha_pattern={r"layers\.[01].*q_proj": 4}), "alpha_pattern has the pattern"),
    (dict(target_modules=["q_proj"], init_lora_weights="olora"), "init_lora_weights is 'olora'"),
    (dict(target_modules=["q_proj"], lora_bias=True), "lora_bias is true"),
])
def test_refused(minimind, base, tmp_path, settings, words):
    random_adapter(load(base("qwen")), tmp_path / "adapter", numpy.random.default_rng(5), r=2, **settings)
    refused = minimind("merge", "--adapter", tmp_path / "adapter", "--to", tmp_path / "merged", check=False)
    assert refused.returncode == 1 and words in refused.stderr and refused.stderr.count("\n") == 1
    assert not (tmp_path / "merged").exists()


def test_experts_refused(minimind, base, tmp_path):
    """Routed experts are one tensor to transformers: peft adapts them by `target_parameters`, which is refused by name."""
    random_adapter(
        load(base("mixture")), tmp_path / "adapter", numpy.random.default_rng(5), r=2, target_modules=["q_proj"],
        target_parameters=["mlp.experts.down_proj"])
    refused = minimind("merge", "--adapter", tmp_path / "adapter", "--to", tmp_path / "merged", check=False)
    assert refused.returncode == 1 and "target_parameters is [\"mlp.experts.down_proj\"]" in refused.stderr


@pytest.mark.parametrize("name", MODELS)
def test_gradients(minimind, probe, base, conversations, tmp_path, name):
    """Of the mean loss over the same packed batch, without dropout: every gradient of A and B."""
    run = train(minimind, base(name), conversations, tmp_path / "run", "--lora-rank", 4)
    documents = [document for document in random_documents() if len(document) > 1]
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    mean = json.loads(probe("gradients", run, tmp_path / "documents.json", tmp_path / "gradients"))["loss"]
    ours = safetensors.load_file(tmp_path / "gradients/adapter_model.safetensors")

    # In double precision. A key's gradient is small beside the softmax's differences that it sums: fp32 errs by 1e-4 there.
    model = peft.PeftModel.from_pretrained(load(base(name)), run / "model", is_trainable=True).eval().double()
    if name.startswith("mixture"):
        # The quicker ways to the experts know no double precision.
        model.base_model.model.set_experts_implementation("eager")
    losses = []
    for ids in documents:
        logits = model(torch.tensor([ids])).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none"))
    loss = torch.cat(losses).mean()
    loss.backward()
    assert abs(mean - loss.item()) < 1e-4 * loss.item()
    theirs = {
        key.replace(".default", ""): parameter.grad.numpy()
        for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert ours.keys() == theirs.keys() and len(ours) == 2 * 3 * (4 if name == ATTENTION_ONLY else 7)
    for key, gradient in ours.items():
        error = numpy.linalg.norm(gradient - theirs[key]) / numpy.linalg.norm(theirs[key])
        assert error < 2e-4, f"{key}: {error:.1e}"
