"""Model directories between this program and `transformers`, both ways: logits, greedy continuation, tokenizer.

Ours come out of `interop-probe`, a test executable around the training pass (Tests/InteropProbe). Everything runs in
fp32; no test reaches for a network.
"""

import json
import os
import shutil

import pytest
from conftest import REPOSITORY, VOCABULARY

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func  # noqa: E402

QWEN_MIXTURE = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 24, "num_experts": 4,
                "moe_intermediate_size": 80}

#: Each exercises one freedom of config.json.
VARIANTS = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "head_dim of its own": {"head_dim": 24},
    "one key/value head": {"num_key_value_heads": 1},
    "a head each": {"num_key_value_heads": 4},
    "another theta and epsilon": {"rope_theta": 500_000.0, "rms_norm_eps": 1e-3},
    "mixture of experts": {"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_k": 2,
                           "moe_num_experts": 4, "moe_num_shared_experts": 1, "moe_intermediate_size": 80,
                           "moe_layer_start_index": 0},
    "mixture without shared experts, untied": {
        "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_k": 3, "moe_num_experts": 6,
        "moe_num_shared_experts": 0, "moe_intermediate_size": 48, "moe_layer_start_index": 0, "head_dim": 20,
        "tie_word_embeddings": False, "rope_theta": 500_000.0},
    "mixture with two shared experts": {
        "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_k": 1, "moe_num_experts": 3,
        "moe_num_shared_experts": 2, "moe_intermediate_size": 64, "moe_layer_start_index": 0},
    "linear rope scaling": {"rope_scaling": {"rope_type": "linear", "factor": 3.0}, "max_position_embeddings": 32},
    "dynamic rope scaling": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.5}, "max_position_embeddings": 32},
    "YaRN": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
             "max_position_embeddings": 128, "head_dim": 64},
    "YaRN with settings": {
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 40, "beta_fast": 4.0,
                         "beta_slow": 0.5, "attention_factor": 1.3, "truncate": False}, "max_position_embeddings": 80},
    "mixture with YaRN": {
        "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_k": 2, "moe_num_experts": 4,
        "moe_num_shared_experts": 1, "moe_intermediate_size": 80, "moe_layer_start_index": 0, "max_position_embeddings": 128,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}},
    "llama3 rope scaling": {
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}, "max_position_embeddings": 512, "head_dim": 32},
    "sliding window": {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 110},
    "biases": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "biases on the output too": {"attention_bias": True, "tie_word_embeddings": False},
    "biases beside q/k norms": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 24, "attention_bias": True},
    "mixture of one with q/k norms": QWEN_MIXTURE | {"num_experts_per_tok": 1, "norm_topk_prob": True},
    "mixture with q/k norms and biases, weights as they are": QWEN_MIXTURE | {
        "num_experts_per_tok": 3, "norm_topk_prob": False, "tie_word_embeddings": False, "attention_bias": True},
    "q/k norms": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32},
    "q/k norms, untied": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "tie_word_embeddings": False, "head_dim": 20},
}


def configuration(variant):
    """The members of a config.json."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 112, "vocab_size": VOCABULARY,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu",
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2} | VARIANTS[variant]


def our_logits(probe, folder, model, documents):
    """[tokens, vocabulary] for the documents packed into one batch."""
    (folder / "documents.json").write_text(json.dumps(documents))
    probe("logits", model, folder / "documents.json", folder / "logits.safetensors")
    return safetensors.load_file(folder / "logits.safetensors")["logits"]


def their_logits(model, documents):
    """[tokens, vocabulary], each document by itself."""
    with torch.no_grad():
        return torch.cat([model(torch.tensor([ids])).logits[0] for ids in documents]).float().numpy()


def random_documents(vocabulary=VOCABULARY):
    generator = numpy.random.default_rng(7)
    return [generator.integers(0, vocabulary, length).tolist() for length in (70, 1, 33, 16)]


def assert_same_logits(ours, theirs):
    assert ours.shape == theirs.shape
    error = numpy.abs(ours - theirs).max() / numpy.abs(theirs).max()
    assert error < 1e-4, f"largest difference {error:.1e} of the largest logit"


def load(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", local_files_only=True)
    return model.eval()


def assert_same_continuation(probe, folder, directory, model, prompt, length=40):
    """Theirs continues greedily; at each place ours must find the same token most likely, so it would have gone the same way."""
    if model.config.rope_parameters["rope_type"] == "dynamic":
        return  # Angles follow the length: earlier places of the whole text are not what they were when it was shorter.
    with torch.no_grad():
        ids = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=length,
            do_sample=False, eos_token_id=None, pad_token_id=0)[0].tolist()
    assert len(ids) == len(prompt) + length
    ours = our_logits(probe, folder, directory, [ids[:-1]])
    assert ours.argmax(axis=1)[len(prompt) - 1:].tolist() == ids[len(prompt):]


def random_model(variant):
    """A model of `transformers` whose weights are larger than at a usual start, so that every part counts."""
    members = {key: value for key, value in configuration(variant).items() if key not in ("architectures", "rope_theta")}
    kind = {"llama": transformers.LlamaConfig, "mistral": transformers.MistralConfig, "qwen2": transformers.Qwen2Config,
            "qwen3": transformers.Qwen3Config, "qwen3_moe": transformers.Qwen3MoeConfig,
            "ernie4_5_moe": transformers.Ernie4_5_MoeConfig}[members.pop("model_type")]
    rotary = {"rope_type": "default", "rope_theta": configuration(variant)["rope_theta"]} | members.pop("rope_scaling", {})
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_config(kind(**members, rope_parameters=rotary), attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("e_score_correction_bias"):
                continue
            weight.normal_(1 if weight.dim() == 1 else 0, 0.3 if weight.dim() == 1 else 0.15)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_directory_of_ours_is_the_same_model_in_transformers(probe, tokenizer_directory, tmp_path, variant):
    (tmp_path / "config.json").write_text(json.dumps(configuration(variant)))
    probe("create", tmp_path / "config.json", 3, "float32", tokenizer_directory, tmp_path / "model")
    model = load(tmp_path / "model")
    assert type(model).__name__ == configuration(variant)["architectures"][0]
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), their_logits(model, documents))
    assert_same_continuation(probe, tmp_path, tmp_path / "model", model, documents[2])


def test_a_bfloat16_directory_of_ours_is_the_same_model_in_transformers(probe, tokenizer_directory, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(configuration("untied")))
    probe("create", tmp_path / "config.json", 3, "bfloat16", tokenizer_directory, tmp_path / "model")
    automatic = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto", local_files_only=True)
    assert automatic.dtype == torch.bfloat16
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), their_logits(load(tmp_path / "model"), documents))


#: What is stored differently does not depend on the variant: one dense model and the two kinds of mixtures.
STORED = [(variant, "1GB", torch.float32) for variant in VARIANTS] + [
    (variant, shard, dtype) for variant in ("untied", "mixture of experts", "mixture of one with q/k norms")
    for shard, dtype in (("100KB", torch.float32), ("1GB", torch.bfloat16))]


@pytest.mark.parametrize("variant, shard, dtype", STORED)
def test_a_directory_that_transformers_saved_is_the_same_model_here(probe, tmp_path, variant, shard, dtype):
    random_model(variant).to(dtype).save_pretrained(tmp_path / "model", max_shard_size=shard)
    assert (tmp_path / "model/model.safetensors.index.json").exists() == (shard == "100KB")
    model = load(tmp_path / "model")
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), their_logits(model, documents))
    assert_same_continuation(probe, tmp_path, tmp_path / "model", model, documents[2])


def by_checkpoint_names(model, values):
    """What `values` says of each parameter, by the names in a checkpoint, where each expert has matrices of its own."""
    found = {}
    for name, weight in model.named_parameters():
        if name.endswith("mlp.experts.gate_up_proj"):
            for expert, both in enumerate(values(weight)):
                gate, up = both.chunk(2)
                prefix = name.replace("gate_up_proj", f"{expert}.")
                found |= {prefix + "gate_proj.weight": gate, prefix + "up_proj.weight": up}
        elif name.endswith("mlp.experts.down_proj"):
            found |= {name.replace("down_proj", f"{expert}.down_proj.weight"): part for expert, part in enumerate(values(weight))}
        elif not name.endswith("e_score_correction_bias"):
            found[name] = values(weight)
    return {name: value.detach().numpy() for name, value in found.items()}


def loss_and_balance(model, documents):
    """The mean loss of predicting each document's next tokens, and how unevenly the experts of a mixture are used.

    Ours weights a document by its predicted tokens; transformers' function counts choices, not their share, hence / k.
    """
    total = sum(len(ids) - 1 for ids in documents)
    loss, balance = torch.zeros(()), torch.zeros(())
    for ids in documents:
        tokens = torch.tensor([ids])
        if model.config.model_type in ("ernie4_5_moe", "qwen3_moe"):
            output = model(tokens, output_router_logits=True)
            chosen = model.config.moe_k if model.config.model_type == "ernie4_5_moe" else model.config.num_experts_per_tok
            for logits in output.router_logits:
                balance = balance + (len(ids) - 1) / total / chosen * load_balancing_loss_func(
                    (logits,), logits.shape[-1], chosen)
        else:
            output = model(tokens)
        loss = loss + torch.nn.functional.cross_entropy(output.logits[0, :-1], tokens[0, 1:], reduction="sum") / total
    return loss, balance


def assert_same_weights(found, expected, tolerance=1e-4):
    assert set(expected) <= set(found)
    for name, value in expected.items():
        error = numpy.linalg.norm(found[name] - value) / max(numpy.linalg.norm(value), 1e-12)
        assert error < tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant not in ("q/k norms", "q/k norms, untied")])
def test_gradients_and_five_steps_are_those_of_pytorch_the_balance_of_experts_included(probe, tmp_path, variant):
    coefficient = 0.3
    model = random_model(variant)
    model.config.router_aux_loss_coef = coefficient
    model.save_pretrained(tmp_path / "model")
    documents = random_documents()
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    ours = json.loads(probe("gradients", tmp_path / "model", tmp_path / "documents.json", tmp_path / "gradients"))
    vectors, matrices = [[weight for weight in model.parameters() if (weight.dim() > 1) == many] for many in (False, True)]
    optimizer = torch.optim.AdamW(
        [{"params": vectors, "weight_decay": 0}, {"params": matrices}], lr=0.001, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(5):
        optimizer.zero_grad()
        loss, balance = loss_and_balance(model, documents)
        (loss + coefficient * balance).backward()
        if step == 0:
            assert abs(ours["loss"] - loss.item()) < 1e-4 * loss.item()
            assert abs(ours["balance"] - balance.item()) <= 1e-4 * balance.item()
            expected = by_checkpoint_names(model, lambda weight: weight.grad)
            assert_same_weights(safetensors.load_file(tmp_path / "gradients/model.safetensors"), expected)
        optimizer.step()
    probe("steps", tmp_path / "model", tmp_path / "documents.json", tmp_path / "trained")
    expected = by_checkpoint_names(model, lambda weight: weight)
    # AdamW moves a weight by its rate however small the gradient is, so roundings of gradients near zero count in full, and
    # which these are depends on the processor: on most all are within 1e-4, on one a mixture with YaRN is at 1.4e-4.
    assert_same_weights(safetensors.load_file(tmp_path / "trained/model.safetensors"), expected, tolerance=3e-4)


@pytest.fixture(scope="module")
def trained_run(minimind, tokenizer_directory, tmp_path_factory):
    """A run directory of our own `pretrain`: a tiny model, and enough steps over two short texts to be sure of some words."""
    folder = tmp_path_factory.mktemp("trained")
    texts = [REPOSITORY / "LICENSE", REPOSITORY / "scripts/corpora/basics.jsonl"]
    (folder / "text.txt").write_text("\n".join(path.read_text(encoding="utf-8") for path in texts), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(configuration("head_dim of its own")))
    minimind("data", "pretrain", "--input", folder / "text.txt", "--tokenizer", tokenizer_directory, "--output", folder / "data")
    minimind("pretrain", "--model", folder / "config.json", "--data", folder / "data", "--output", folder / "run",
             "--steps", 60, "--batch-tokens", 2048, "--sequence-length", 256, "--learning-rate", 0.003)
    return folder / "run"


def test_a_trained_model_is_the_same_model_in_transformers(probe, trained_run, tmp_path):
    model = load(trained_run / "model")
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, trained_run, documents), their_logits(model, documents))
    assert_same_continuation(probe, tmp_path, trained_run, model, documents[2])


@pytest.mark.parametrize("prompt", ["The ", "      (a) You", "你好", "<s>"])
def test_generate_continues_as_transformers_does(minimind, trained_run, prompt):
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained_run / "model", local_files_only=True)
    ids = [tokenizer.bos_token_id] + tokenizer(prompt)["input_ids"]
    with torch.no_grad():
        theirs = load(trained_run / "model").generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=40, do_sample=False,
            pad_token_id=0)[0].tolist()
    ours = minimind(
        "generate", "--model", trained_run, "--prompt", prompt, "--type", "fp32", "--temperature", 0, "--max-tokens", 40, "--json")
    assert json.loads(ours.stdout)["text"] == tokenizer.decode(theirs[len(ids):], skip_special_tokens=True)


@pytest.mark.parametrize("mode", ["none", "linear", "dynamic", "yarn"])
def test_generate_reads_beyond_the_trained_length_as_transformers_does(minimind, trained_run, tmp_path, mode):
    trained, factor = 256, 4.0
    config = json.loads((trained_run / "model/config.json").read_text())
    if mode != "none":
        config["rope_scaling"] = {"rope_type": mode, "factor": factor}
    shutil.copytree(trained_run / "model", tmp_path / "scaled")
    (tmp_path / "scaled/config.json").write_text(json.dumps(config))
    model = load(tmp_path / "scaled")
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained_run / "model", local_files_only=True)
    prompt = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")[:1500]
    ids = [tokenizer.bos_token_id] + tokenizer(prompt)["input_ids"]
    assert len(ids) > trained
    with torch.no_grad():
        theirs = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=30, do_sample=False,
            eos_token_id=None, pad_token_id=0)[0].tolist()[len(ids):]
    theirs = theirs[:theirs.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in theirs else theirs
    options = ["--rope", mode] if mode == "none" else ["--rope", mode, "--rope-factor", factor]
    # By option, and by the model's own configuration.
    for arguments in (["--model", trained_run, *options], ["--model", tmp_path / "scaled"]):
        ours = minimind("generate", *arguments, "--prompt", prompt, "--type", "fp32", "--temperature", 0, "--context", 1024,
                        "--max-tokens", 30, "--json")
        assert json.loads(ours.stdout)["text"] == tokenizer.decode(theirs, skip_special_tokens=True)


CONVERSATIONS = [
    ([{"role": "user", "content": "你好 <s> hi"}], "<s>user\n你好 <s> hi</s>\n<s>assistant\n"),
    ([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b\n"},
      {"role": "user", "content": " c "}], "Be kind.<s>user\na</s>\n<s>assistant\nb\n</s>\n<s>user\n c </s>\n<s>assistant\n"),
]


def test_the_tokenizer_loads_through_auto_tokenizer_and_renders_the_same_chat(minimind, tokenizer_directory):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_directory, local_files_only=True)
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    lines = ["Hello, world  of\ttext's.", "你好，世界。", "<s>user", "a\u3000b\u00a0c 🙂", " leading and trailing "]
    ours = minimind("tokenizer", "encode", "--tokenizer", tokenizer_directory, "--json", input="\n".join(lines) + "\n").stdout
    for line, ids in zip(lines, map(json.loads, ours.splitlines())):
        assert tokenizer(line)["input_ids"] == ids
        assert tokenizer.decode(ids) == line
    for messages, rendered in CONVERSATIONS:
        for prompts in (False, True):
            assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompts) == rendered


def test_a_tokenizer_of_ours_renders_v1s_chats_as_v1_did(tokenizer_directory, shared):
    # The Swift tests check our own rendering against the same file.
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_directory, local_files_only=True)
    cases = (shared / "fixtures/tokenizer/chat_cases.jsonl").read_text(encoding="utf-8").split("\n")
    for case in map(json.loads, filter(None, cases)):
        assert tokenizer.apply_chat_template(case["messages"], tokenize=False) == case["rendered"]
