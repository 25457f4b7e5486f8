"""GGUF files of `minimind convert` in llama.cpp (llama-cpp-python, compiled by `make peers`), and llama.cpp's own files here:
tokens, logits, greedy text.

Ours are the numbers of `interop-probe` on the model directory that each file was converted from, or on the file.
"""

import json
import shutil

import pytest

pytestmark = pytest.mark.peers

import numpy as np  # noqa: E402
from conftest import VOCABULARY  # noqa: E402
from random_model import make_model  # noqa: E402
from test_tokenizer_characters import BACK, REPLACE, sentencepiece_file  # noqa: E402
import llama_cpp  # noqa: E402
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
    "window": {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 128},
    # Rows of whole blocks of q4_K.
    "wide": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
    "minimind-3-moe": {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 256, "head_dim": 32,
                       "num_experts": 4, "num_experts_per_tok": 1, "norm_topk_prob": True, "moe_intermediate_size": 256,
                       "num_hidden_layers": 2},
    "mixture": {"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "moe_num_experts": 4, "moe_k": 2,
                "moe_num_shared_experts": 1, "moe_intermediate_size": 128, "moe_layer_start_index": 0, "use_bias": False},
}
ENCODINGS = ["fp32", "fp16", "bf16", "q8", "q4", "q4_K"]
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
    # What rounding the weights does to our logits. llama.cpp rounds the activations besides, to the same type or to 8 bits,
    # which does about as much again.
    allowed = 1e-4 if encoding == "fp32" else 3 * difference(our_logits(probe, tmp_path, tmp_path / "m.gguf", ids), ours)
    print(f"{variant} {encoding}: difference {difference(theirs, ours):.1e}, allowed {allowed:.1e}")
    if VARIANTS[variant].get("num_experts_per_tok") == 1 and encoding not in ("fp32", "fp16"):
        # Where another rounding chooses another expert, all of a token's logits differ.
        rows = np.sqrt(((theirs - ours) ** 2).mean(axis=1) / (ours**2).mean(axis=1))
        assert np.median(rows) < allowed
        return
    assert difference(theirs, ours) < allowed
    # Theirs goes on greedily; at each place ours finds the same token most likely, or, in a type that rounds, one that the
    # rounding explains.
    continued = list(ids[:20])
    for _ in range(40):
        continued.append(int(their_logits(llama, continued)[-1].argmax()))
    logits = our_logits(probe, tmp_path, directory, continued[:-1])[19:]
    gap = logits.max(axis=1) - logits[np.arange(40), continued[20:]]
    assert (gap == 0).all() if encoding == "fp32" else (gap < 6 * allowed * logits.std()).all()


#: `llama_ftype` of the types that llama.cpp quantizes to, and what rounding its activations may do to logits.
FILE_TYPES = {"F16": (1, 1e-2), "Q4_0": (2, 0.1), "Q4_1": (3, 0.1), "Q8_0": (7, 0.1), "Q5_0": (8, 0.1), "Q5_1": (9, 0.1),
              "Q4_K_M": (15, 0.1), "Q5_K_M": (17, 0.1), "Q6_K": (18, 0.1), "BF16": (32, 5e-2)}


@pytest.mark.parametrize("name", FILE_TYPES)
def test_llama_cpps_own_files_are_read(minimind, probe, model, tmp_path, name):
    number, allowed = FILE_TYPES[name]
    minimind("convert", "--from", model("wide"), "--to", tmp_path / "m.gguf")
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = number
    target = tmp_path / "quantized.gguf"
    assert llama_cpp.llama_model_quantize(str(tmp_path / "m.gguf").encode(), str(target).encode(), parameters) == 0
    ids, llama = ids_of(60), load(target)
    continued = list(ids[:20])
    for _ in range(40):
        continued.append(int(their_logits(llama, continued)[-1].argmax()))
    theirs, ours = their_logits(llama, continued[:-1]), our_logits(probe, tmp_path, target, continued[:-1])
    print(f"{name}: difference {difference(theirs, ours):.1e}")
    assert difference(theirs, ours) < allowed
    gap = (ours.max(axis=1) - ours[np.arange(59), continued[1:]])[19:]
    assert (gap < 6 * allowed * ours.std()).all()
    # The command answers with the text of these weights.
    assert minimind("generate", "--model", target, "--prompt", "The", "--max-tokens", 5, "--temperature", 0).stdout


def test_our_q4_k_loses_as_little_as_llama_cpps(minimind, model, tmp_path):
    directory = model("wide")
    minimind("convert", "--from", directory, "--to", tmp_path / "m.gguf")
    minimind("convert", "--from", directory, "--to", tmp_path / "ours.gguf", "--type", "q4_K")
    parameters = llama_cpp.llama_model_quantize_default_params()
    # Q4_K_S, and for every matrix the same.
    parameters.ftype, parameters.pure = 14, True
    assert llama_cpp.llama_model_quantize(
        str(tmp_path / "m.gguf").encode(), str(tmp_path / "theirs.gguf").encode(), parameters) == 0
    original, lost = load_file(directory / "model.safetensors"), {}
    for name in ("ours", "theirs"):
        minimind("convert", "--from", tmp_path / f"{name}.gguf", "--to", tmp_path / name, "--type", "fp32")
        read = load_file(tmp_path / name / "model.safetensors")
        lost[name] = {key: float(((read[key] - array) ** 2).sum()) for key, array in original.items() if array.ndim == 2}
    for key in lost["ours"]:
        assert lost["ours"][key] <= lost["theirs"][key] * 1.02, key


#: The pre-tokenizers that are written, as a tokenizer.json has them, and llama.cpp's names.
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
AFTER_DIGITS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ENDING"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*ENDING")
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPLITS = {
    "gpt-2": ([], True, False),
    "smollm": ([{"type": "Digits", "individual_digits": True}], True, False),
    "qwen2": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + AFTER_DIGITS], False, False),
    "llama-bpe": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + AFTER_DIGITS], False, True),
    "dbrx": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + AFTER_DIGITS], False, False),
    "tekken": ([CASED.replace("ENDING", "") + r"|\p{N}" + AFTER_DIGITS.replace("[\\r\\n]*", "[\\r\\n/]*")], False, True),
    "gpt-4o": ([CASED.replace("ENDING", CONTRACTIONS + "?") + r"|\p{N}{1,3}" + AFTER_DIGITS.replace("[\\r\\n]*", "[\\r\\n/]*")],
               False, False),
    "deepseek-v3": ([r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK], False, False),
}


def with_split(file, steps, ends_with_gpt2, looks_up):
    """A tokenizer.json with another pre-tokenizer."""
    parts = [{"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False} if isinstance(step, str) else step
             for step in steps]
    parts.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": ends_with_gpt2})
    return file | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": parts}, "model": file["model"] | {"ignore_merges": looks_up}}


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_that_is_written_has_its_name_there(minimind, model, tmp_path, name):
    shutil.copytree(model("llama"), tmp_path / "model")
    path = tmp_path / "model/tokenizer.json"
    path.write_text(json.dumps(with_split(json.loads(path.read_text(encoding="utf-8")), *SPLITS[name])), encoding="utf-8")
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf")
    llama = load(tmp_path / "m.gguf")
    assert llama.metadata["tokenizer.ggml.pre"] == name
    texts = TEXTS + ["HelloWorld fooBAR 1234567 don't WE'LL\r\n\r\n  x/\n//\n", "ñandú ÀÉÎ straße ﬁ Ǆ 漢字かなカナ한국어 ١٢٣ ½ !?…",
                     "  leading\t tabs  \n\n\n end   "]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    read = []
    for tokenizer in (tmp_path / "model", tmp_path / "m.gguf"):
        lines = minimind("tokenizer", "encode", "--tokenizer", tokenizer, "--input", tmp_path / "texts.jsonl", "--json").stdout
        read.append([json.loads(line) for line in lines.splitlines()])
    assert read[0] == read[1]
    for text, ids in zip(texts, read[0]):
        assert llama.tokenize(text.encode(), add_bos=True, special=True) == ids, text


@pytest.mark.parametrize("adds_space", [True, False])
def test_a_tokenizer_of_sentencepiece_makes_the_same_tokens_there(minimind, tokenizer_directory, tmp_path, adds_space):
    corpus = [*TEXTS, "the river runs", "  two spaces", "the the theatre"] * 20
    file = sentencepiece_file(corpus)
    if not adds_space:
        file["normalizer"], file["decoder"]["decoders"] = REPLACE, BACK
    make_model(tmp_path / "m", tokenizer_directory, vocabulary=len(file["model"]["vocab"]))
    (tmp_path / "m/tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    minimind("convert", "--from", tmp_path / "m", "--to", tmp_path / "m.gguf")
    llama = load(tmp_path / "m.gguf")
    texts = TEXTS + ["the river runs", " the", "", " ", "two  spaces ", "the</s> river<s>the", "▁the▁", "qzx∰"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    lines = minimind("tokenizer", "encode", "--tokenizer", tmp_path / "m", "--input", tmp_path / "texts.jsonl", "--json").stdout
    for text, ids in zip(texts, map(json.loads, lines.splitlines())):
        assert llama.tokenize(text.encode(), add_bos=False, special=True) == ids, text


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
