"""GGUF files of `minimind convert` in llama.cpp (llama-cpp-python, compiled by `make peers`): tokens, logits, greedy text.

Ours are the numbers of `interop-probe` on the model directory that each file was converted from.
"""

import json
import shutil

import pytest

pytestmark = pytest.mark.peers

import numpy as np  # noqa: E402
from conftest import VOCABULARY  # noqa: E402
from llama_cpp import GGML_TYPE_F32, Llama  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": VOCABULARY,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu",
         "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2}
#: Each has something that llama.cpp must be told.
VARIANTS = {
    "llama": {},
    "untied, heads of their own size": {"tie_word_embeddings": False, "head_dim": 32},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32},
    "linear scaling": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "YaRN": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "biases of llama": {"attention_bias": True},
    "llama3 scaling": {
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}},
    "qwen3moe": {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 32, "num_experts": 4,
                 "num_experts_per_tok": 1, "norm_topk_prob": True, "moe_intermediate_size": 128},
    "mixture": {"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_num_experts": 4, "moe_k": 2,
                "moe_num_shared_experts": 1, "moe_intermediate_size": 128, "moe_layer_start_index": 0, "use_bias": False},
}
ENCODINGS = ["fp32", "fp16", "bf16", "q8"]
TEXTS = ["Hello, world  of\ttext's.", "你好，世界。", "a\u3000b\u00a0c 🙂  \n\n  x", " don't  DON'T 123 ４５", "naïve café"]


@pytest.fixture(scope="module")
def model(probe, tokenizer_directory, tmp_path_factory):
    """Makes the model directory of a variant, whose weights are larger than at a usual start, so that every part counts."""
    made = {}

    def make(variant):
        if variant not in made:
            folder = tmp_path_factory.mktemp("model")
            (folder / "config.json").write_text(json.dumps(LLAMA | VARIANTS[variant]))
            probe("create", folder / "config.json", 3, "float32", tokenizer_directory, folder / "model")
            enlarge(folder / "model/model.safetensors")
            made[variant] = folder / "model"
        return made[variant]

    return make


def enlarge(path):
    weights = load_file(path)
    random = np.random.default_rng(4)
    save_file({name: (array * (1 + random.normal(0, 0.2, array.shape)) if array.ndim == 1 else array * 6).astype(np.float32)
               for name, array in weights.items()}, path, metadata={"format": "pt"})


def rounded(array, encoding):
    """The weights that a file of this type holds, in fp32."""
    if encoding == "fp16":
        return array.astype(np.float16).astype(np.float32)
    if encoding == "bf16":
        bits = array.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    blocks = array.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    return (np.round(blocks / scale) * scale.astype(np.float16).astype(np.float32)).reshape(array.shape).astype(np.float32)


def rounded_directory(directory, folder, encoding):
    """The model with the weights that a file of this type holds."""
    shutil.copytree(directory, folder / "rounded")
    path = folder / "rounded/model.safetensors"
    is_matrix = lambda name, array: array.shape[0] > 1 and array.ndim == 2 and not name.endswith("mlp.gate.weight")  # noqa: E731
    save_file({name: rounded(array, encoding) if is_matrix(name, array) else array for name, array in load_file(path).items()},
              path, metadata={"format": "pt"})
    return folder / "rounded"


def our_logits(probe, folder, directory, ids):
    (folder / "documents.json").write_text(json.dumps([ids]))
    probe("logits", directory, folder / "documents.json", folder / "logits.safetensors")
    return load_file(folder / "logits.safetensors")["logits"]


def load(path):
    # Keys and values in fp32, as ours.
    return Llama(str(path), n_ctx=256, n_threads=2, logits_all=True, verbose=False, type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32)


def their_logits(llama, ids):
    llama.reset()
    llama.eval(ids)
    return np.array(llama.scores[:len(ids)])


def ids_of(length, seed=7):
    return np.random.default_rng(seed).integers(3, VOCABULARY, length).tolist()


def difference(first, second):
    """The root of the mean squared difference, relative to that of `second`."""
    return float(np.sqrt(np.mean((first - second) ** 2) / np.mean(second**2)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_greedy_text_are_ours(minimind, probe, model, tmp_path, variant, encoding):
    directory = model(variant)
    minimind("convert", "--from", directory, "--to", tmp_path / "m.gguf", "--type", encoding)
    llama = load(tmp_path / "m.gguf")
    ids = ids_of(60)
    ours, theirs = our_logits(probe, tmp_path, directory, ids), their_logits(llama, ids)
    # What rounding the weights does to our logits. llama.cpp rounds the activations to the same type besides, which does
    # about as much again.
    allowed = 1e-4 if encoding == "fp32" else 3 * difference(
        our_logits(probe, tmp_path, rounded_directory(directory, tmp_path, encoding), ids), ours)
    print(f"{variant} {encoding}: difference {difference(theirs, ours):.1e}, allowed {allowed:.1e}")
    assert difference(theirs, ours) < allowed
    # Theirs goes on greedily; at each place ours finds the same token most likely, or, in a type that rounds, one that the
    # rounding explains.
    continued = list(ids[:20])
    for _ in range(40):
        continued.append(int(their_logits(llama, continued)[-1].argmax()))
    logits = our_logits(probe, tmp_path, directory, continued[:-1])[19:]
    gap = logits.max(axis=1) - logits[np.arange(40), continued[20:]]
    assert (gap == 0).all() if encoding == "fp32" else (gap < 6 * allowed * logits.std()).all()


def test_text_becomes_the_same_tokens_and_back(minimind, model, tokenizer_directory, tmp_path):
    minimind("convert", "--from", model("llama"), "--to", tmp_path / "m.gguf")
    llama = load(tmp_path / "m.gguf")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    lines = minimind("tokenizer", "encode", "--tokenizer", tokenizer_directory, "--input", tmp_path / "texts.jsonl", "--json").stdout
    for text, ids in zip(TEXTS, map(json.loads, lines.splitlines())):
        assert llama.tokenize(text.encode(), add_bos=True, special=True) == ids
        assert llama.detokenize(ids).decode() == text
    assert llama.tokenize(b"<s>user\nhi</s>\n", add_bos=True, special=True)[0] == 1
    assert llama.token_eos() == 2 and llama.token_bos() == 1


def test_the_chat_template_in_the_file_is_minimind_v1s(minimind, model, tmp_path):
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter
    minimind("convert", "--from", model("llama"), "--to", tmp_path / "m.gguf")
    template = load(tmp_path / "m.gguf").metadata["tokenizer.chat_template"]
    prompt = Jinja2ChatFormatter(template=template, eos_token="</s>", bos_token="<s>")(messages=[
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}]).prompt
    assert prompt == "Be kind.<s>user\na</s>\n<s>assistant\nb</s>\n<s>user\nc</s>\n<s>assistant\n"
