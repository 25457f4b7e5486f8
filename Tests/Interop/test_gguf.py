"""GGUF files that the `gguf` package writes, with the names and metadata of llama.cpp's convert script, as this program reads
them: weights of every type, settings, tokenizers, and every command that takes a model.

What needs llama.cpp itself stands in test_llama_cpp.py.
"""

import json
import shutil

import gguf
import gguf_files
import numpy as np
import pytest
from random_model import SHAPES, make_model
from safetensors.numpy import load_file, save_file
from serving import Server
from test_tokenizer_characters import FORMS, LLAMA2, character_file, sentencepiece_file

from conftest import VOCABULARY


def weights(directory):
    return load_file(directory / "model.safetensors")


def config(directory):
    return json.loads((directory / "config.json").read_text())


@pytest.mark.parametrize("kind", gguf_files.TYPES)
def test_weights_of_every_type_are_those_of_the_package(minimind, tokenizer_directory, tmp_path, kind):
    values = gguf_files.write(tmp_path / "m.gguf", tokenizer_directory, kind)
    minimind("convert", "--from", tmp_path / "m.gguf", "--to", tmp_path / "m", "--type", "fp32")
    expected, read = gguf_files.hugging_face(values), weights(tmp_path / "m")
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(read[name].view(np.uint32), array.view(np.uint32)), name


ARCHITECTURES = {
    "llama": dict(), "untied": dict(tied=False), "qwen2": dict(architecture="qwen2", biases=True),
    "qwen3": dict(architecture="qwen3", tied=False), "qwen3moe": dict(architecture="qwen3moe", experts=4)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_read_with_its_settings(minimind, tokenizer_directory, tmp_path, name):
    options = ARCHITECTURES[name]
    architecture = options.get("architecture", "llama")
    values = gguf_files.write(tmp_path / "m.gguf", tokenizer_directory, "F16", **options)
    minimind("convert", "--from", tmp_path / "m.gguf", "--to", tmp_path / "m", "--type", "fp32")
    expected, read = gguf_files.hugging_face(values, architecture), weights(tmp_path / "m")
    assert read.keys() == expected.keys() and all(np.array_equal(read[key], expected[key]) for key in expected)
    settings, shape = config(tmp_path / "m"), gguf_files.SHAPE
    assert settings["architectures"] == [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
                                          "qwen3moe": "Qwen3MoeForCausalLM"}[architecture]]
    wanted = {"hidden_size": shape["hidden"], "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
              "num_key_value_heads": shape["keys"], "head_dim": shape["head"], "vocab_size": VOCABULARY,
              "max_position_embeddings": shape["context"], "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "bos_token_id": 1,
              "eos_token_id": 2, "tie_word_embeddings": options.get("tied", True), "rope_scaling": None}
    if architecture == "qwen3moe":
        wanted |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": shape["inner"], "norm_topk_prob": True}
    assert {key: settings[key] for key in wanted} == wanted


def factors(base, size, factor, low, high, original):
    """`rope_freqs` as llama.cpp's conversion/llama.py computes them."""
    result = []
    for frequency in 1.0 / base ** (np.arange(0, size, 2, dtype=np.float32) / size):
        wavelength = 2 * np.pi / frequency
        if wavelength < original / high:
            result.append(1)
        elif wavelength > original / low:
            result.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            result.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(result, np.float32)


@pytest.mark.parametrize("settings", [(8.0, 1.0, 4.0, 8192), (32.0, 1.0, 4.0, 8192), (8.0, 1.0, 4.0, 64), (4.0, 1.0, 32.0, 2048)])
def test_the_factors_of_llama_3_become_its_settings(minimind, tokenizer_directory, tmp_path, settings):
    factor, low, high, original = settings
    extra = {"rope_freqs.weight": factors(500_000.0, 64, *settings)}
    gguf_files.write(tmp_path / "m.gguf", tokenizer_directory, extra=extra, metadata=lambda writer: writer.add_rope_freq_base(5e5))
    minimind("convert", "--from", tmp_path / "m.gguf", "--to", tmp_path / "m")
    assert config(tmp_path / "m")["rope_scaling"] == {
        "rope_type": "llama3", "factor": factor, "original_max_position_embeddings": original, "low_freq_factor": low,
        "high_freq_factor": high}


def test_yarn_linear_scaling_and_a_window_are_read(minimind, tokenizer_directory, tmp_path):
    def yarn(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(64)

    def linear(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.0)
        writer.add_sliding_window(128)

    for name, metadata in (("yarn", yarn), ("linear", linear)):
        gguf_files.write(tmp_path / f"{name}.gguf", tokenizer_directory, metadata=metadata)
        minimind("convert", "--from", tmp_path / f"{name}.gguf", "--to", tmp_path / name)
    scaling = config(tmp_path / "yarn")["rope_scaling"]
    assert (scaling["rope_type"], scaling["factor"], scaling["original_max_position_embeddings"]) == ("yarn", 4.0, 64)
    assert config(tmp_path / "linear")["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert config(tmp_path / "linear")["sliding_window"] == 128
    assert config(tmp_path / "linear")["architectures"] == ["MistralForCausalLM"]


REFUSED = {
    "another architecture": (dict(architecture="gemma"), "the architecture 'gemma' is not supported; llama, qwen2"),
    "a split that is not known": (dict(pre="bloom"), "splits text as 'bloom' is not supported; these are: gpt-2"),
    "more tokens than rows": (dict(vocabulary=300), "it has 512 tokens and an embedding of 300 rows"),
    "a token that there is not": (dict(metadata=lambda writer: writer.add_eot_token_id(5000)),
                                  "'tokenizer.ggml.eot_token_id' is 5000, and there are 512 tokens"),
    "a scale of logits": (dict(metadata=lambda writer: writer.add_logit_scale(0.5)), "llama.logit_scale is 0.5"),
    "factors of another kind": (dict(extra={"rope_freqs.weight": np.linspace(1, 9, 32, dtype=np.float32) ** 2}),
                                "the factors in 'rope_freqs.weight' are not those of Llama 3"),
    "a weight too many": (dict(extra={"blk.0.attn_sinks.weight": np.ones(4, np.float32)}), "'blk.0.attn_sinks.weight' is no weight"),
    "heads by layer": (dict(metadata=lambda writer: writer.add_array("llama.attention.head_count_kv", [2, 4])),
                       "'llama.attention.head_count_kv' differs from layer to layer"),
    "not finite": (dict(extra={"rope_freqs.weight": np.full(32, np.nan, np.float32)}), "rope_freqs.weight"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_name(minimind, tokenizer_directory, tmp_path, name):
    options, text = REFUSED[name]
    gguf_files.write(tmp_path / "m.gguf", tokenizer_directory, **options)
    refused = minimind("generate", "--model", tmp_path / "m.gguf", "--prompt", "a", "--max-tokens", 1, check=False)
    assert refused.returncode == 1 and text in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


# MARK: - q4_K


@np.errstate(all="ignore")
def q4_k_reference(values):
    """The values of blocks of 256 after `quantize_row_q4_K_ref` of ggml-quants.c, and its scales and least values."""
    x = values.reshape(-1, 8, 32).astype(np.float32)
    weights = np.sqrt((x * x).sum(-1, keepdims=True) / 32) + abs(x)
    low, high = np.minimum(x.min(-1, keepdims=True), 0), x.max(-1, keepdims=True)
    total, weighted = weights.sum(-1, keepdims=True), (weights * x).sum(-1, keepdims=True)
    scale, least = (high - low) / 15, low
    nearest = lambda inverse, least: np.clip(np.rint(inverse * (x - least)), 0, 15)  # noqa: E731
    error = lambda scale, least, steps: (weights * (scale * steps + least - x) ** 2).sum(-1, keepdims=True)  # noqa: E731
    best = error(scale, least, nearest(15 / (high - low), low))
    for step in range(21):
        # From the least value of the best one before.
        l = nearest((np.float32(-1) + np.float32(0.1) * step + 15) / (high - least), least)
        sums = [(weights * term).sum(-1, keepdims=True) for term in (l, l * l, l * x)]
        determinant = total * sums[1] - sums[0] ** 2
        new_scale = (total * sums[2] - weighted * sums[0]) / determinant
        new_least = (sums[1] * weighted - sums[0] * sums[2]) / determinant
        new_scale = np.where(new_least > 0, sums[2] / sums[1], new_scale)
        new_least = np.minimum(new_least, 0)
        new_error = error(new_scale, new_least, l)
        better = (determinant > 0) & (new_error < best)
        scale, least = np.where(better, new_scale, scale), np.where(better, new_least, least)
        best = np.where(better, new_error, best)
    scales, mins = scale[..., 0], -least[..., 0]
    d, m = scales.max(-1, keepdims=True), np.maximum(mins.max(-1, keepdims=True), 0)
    steps = [np.minimum(np.rint(np.float32(63) / np.where(top > 0, top, 1) * part), 63) for top, part in ((d, scales), (m, mins))]
    d, m = [(top / 63).astype(np.float16).astype(np.float32) * part for top, part in zip((d, m), steps)]
    numbers = np.clip(np.nan_to_num(np.rint((x + m[..., None]) / d[..., None])), 0, 15)
    return (d[..., None] * numbers - m[..., None]).reshape(values.shape)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "positive", "with zeros"])
def test_q4_k_loses_as_little_as_the_reference(minimind, tokenizer_directory, tmp_path, kind):
    SHAPES["wide"] = SHAPES["tiny"] | {"hidden_size": 256, "num_hidden_layers": 1, "intermediate_size": 320}
    make_model(tmp_path / "m", tokenizer_directory, shape="wide", scale=0.2)
    stored, random = weights(tmp_path / "m"), np.random.default_rng(5)
    changes = {"normal": lambda x: x, "heavy tails": lambda x: random.standard_t(2, x.shape), "positive": lambda x: abs(x) + 0.1,
               "with zeros": lambda x: np.where(random.random(x.shape) < 0.9, 0, x) * (np.arange(len(x)) % 7 > 2)[:, None] + 0.0}
    stored = {name: changes[kind](x).astype(np.float32) if x.ndim == 2 else x for name, x in stored.items()}
    save_file(stored, tmp_path / "m/model.safetensors")
    report = minimind("convert", "--from", tmp_path / "m", "--to", tmp_path / "m.gguf", "--type", "q4_K").stdout
    # The rows of one are 320 long, those of another 64.
    assert "2 of 8 matrices as q5_0: their rows are no multiples of 256" in report
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    down = tensors["blk.0.ffn_down.weight"]
    assert down.tensor_type.name == "Q5_0"
    assert np.array_equal(down.data, gguf.quantize(stored["model.layers.0.mlp.down_proj.weight"], gguf.GGMLQuantizationType.Q5_0))
    for theirs, ours in (("token_embd", "embed_tokens"), ("blk.0.ffn_gate", "layers.0.mlp.gate_proj")):
        values, tensor = stored[f"model.{ours}.weight"], tensors[theirs + ".weight"]
        assert tensor.tensor_type.name == "Q4_K"
        read = gguf.dequantize(tensor.data, tensor.tensor_type)
        lost, least = ((read - values) ** 2).mean(), ((q4_k_reference(values) - values) ** 2).mean()
        assert lost <= least * 1.0005, (lost, least)


# MARK: - Commands


@pytest.fixture(scope="module")
def both(minimind, tokenizer_directory, tmp_path_factory):
    """A model as a directory, and as a GGUF file of the same weights."""
    folder = tmp_path_factory.mktemp("both")
    make_model(folder / "model", tokenizer_directory, scale=0.2)
    minimind("convert", "--from", folder / "model", "--to", folder / "model.gguf")
    return folder / "model", folder / "model.gguf"


@pytest.mark.parametrize("command", [
    ["generate", "--model", "MODEL", "--prompt", "The fox", "--max-tokens", "20", "--temperature", "0", "--type", "fp32"],
    ["generate", "--model", "MODEL", "--prompt", "The fox", "--max-tokens", "20", "--seed", "3", "--type", "q8"],
    ["chat", "--model", "MODEL", "--max-tokens", "20", "--temperature", "0"],
    ["eval", "perplexity", "--model", "MODEL", "--input", "TEXT", "--precision", "fp32", "--json"],
    ["tokenizer", "encode", "--tokenizer", "MODEL", "--input", "TEXT", "--json"],
    ["tokenizer", "render", "--tokenizer", "MODEL", "--input", "TALKS", "--json"],
])
def test_commands_do_the_same_with_the_file_as_with_the_directory(minimind, both, tmp_path, command):
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": "The quick brown fox, naïve 123. 你好"}) + "\n", encoding="utf-8")
    (tmp_path / "talks.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "<s>hi</s>"}]}) + "\n")
    outputs = []
    for model in both:
        places = {"MODEL": model, "TEXT": tmp_path / "text.jsonl", "TALKS": tmp_path / "talks.jsonl"}
        output = minimind(*[places.get(word, word) for word in command], input="Hello\n" if command[0] == "chat" else None).stdout
        outputs.append({key: value for key, value in json.loads(output).items() if key != "seconds"} if "perplexity" in command
                       else output)
    assert outputs[0] == outputs[1] and outputs[0]


def test_a_file_measures_and_describes_itself(minimind, both):
    assert json.loads(minimind("bench", "decode", "--model", both[1], "--tokens", 16, "--json").stdout)["tokens_per_second"] > 0
    facts = [json.loads(minimind("info", path, "--json").stdout) for path in both]
    assert facts[1]["format"] == "GGUF" and facts[0]["tokenizer"] == facts[1]["tokenizer"]
    assert facts[0]["parameters"] == facts[1]["parameters"] and facts[0]["memory"] == facts[1]["memory"]


def test_a_file_is_served_under_its_name_and_a_bare_directory_under_that_around_it(binary, both):
    answers, names = [], []
    for model in both:
        with Server(binary, model, "--type", "fp32") as server:
            status, answer = server.post("/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}], max_tokens=12,
                                         temperature=0)
            assert status == 200, answer
            answers.append(answer["choices"])
            names.append(json.loads(server.request("GET", "/v1/models")[2])["data"][0]["id"])
    assert answers[0] == answers[1] and names == [both[0].parent.name, "model.gguf"]


def test_a_file_answers_questions_of_four_choices(minimind, both, tmp_path):
    (tmp_path / "val").mkdir()
    rows = "".join(f"{number},{number} + 1?,{number},{number + 1},{number + 2},0,B\n" for number in range(20))
    (tmp_path / "val/sums_val.csv").write_text("id,question,A,B,C,D,answer\n" + rows)
    reports = [json.loads(minimind("eval", "ceval", "--model", model, "--data", tmp_path, "--precision", "fp32", "--json").stdout)
               for model in both]
    assert reports[0]["chosen_answers"] == reports[1]["chosen_answers"] and reports[0]["total"] == 20


def test_preferences_are_learned_from_a_file(minimind, both, tmp_path):
    row = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello there"}],
           "rejected": [{"role": "assistant", "content": "No."}]}
    (tmp_path / "pairs.json").write_text(json.dumps([row] * 8))
    minimind("data", "dpo", "--tokenizer", both[1], "--input", tmp_path / "pairs.json", "--output", tmp_path / "data")
    results = []
    for name, start in zip(("directory", "file"), both):
        minimind("dpo", "--data", tmp_path / "data", "--from", start, "--output", tmp_path / name, "--steps", 2, "--precision", "fp32")
        results.append(weights(tmp_path / f"{name}/model"))
    assert all(np.array_equal(results[1][name], array) for name, array in results[0].items())


def test_training_begins_with_a_file_and_its_adapters_find_it(minimind, both, tmp_path):
    model, file = both
    talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there"}]}
    (tmp_path / "talks.jsonl").write_text((json.dumps(talk) + "\n") * 8)
    minimind("data", "sft", "--tokenizer", file, "--input", tmp_path / "talks.jsonl", "--output", tmp_path / "data")
    results = {}
    for name, start in (("directory", model), ("file", file)):
        minimind("sft", "--data", tmp_path / "data", "--from", start, "--output", tmp_path / f"sft-{name}", "--steps", 2,
                 "--precision", "fp32")
        minimind("lora", "--data", tmp_path / "data", "--from", start, "--output", tmp_path / f"lora-{name}", "--steps", 2,
                 "--precision", "fp32")
        minimind("merge", "--adapter", tmp_path / f"lora-{name}", "--to", tmp_path / f"merged-{name}")
        text = minimind("generate", "--model", tmp_path / f"lora-{name}", "--prompt", "Hi", "--max-tokens", 8, "--temperature", 0).stdout
        results[name] = [weights(tmp_path / f"sft-{name}/model"), weights(tmp_path / f"merged-{name}"), text]
    for ours, theirs in zip(results["directory"][:2], results["file"][:2]):
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert results["directory"][2] == results["file"][2]
    # Its hash says so, however it is stored.
    merged = minimind("merge", "--adapter", tmp_path / "lora-directory", "--from", file, "--to", tmp_path / "again")
    assert str(file) in merged.stdout


def test_a_file_whose_name_says_nothing_is_known_by_how_it_begins(minimind, both, tmp_path):
    shutil.copy(both[1], tmp_path / "sha256-0123")
    words = ["--prompt", "The", "--max-tokens", 4, "--temperature", 0]
    assert minimind("generate", "--model", tmp_path / "sha256-0123", *words).stdout == \
        minimind("generate", "--model", both[0], *words).stdout


def test_a_file_becomes_another_with_other_types_and_a_directory_with_its_tokenizer(minimind, both, tmp_path):
    model, file = both
    minimind("convert", "--from", file, "--to", tmp_path / "small.gguf", "--type", "q8")
    minimind("convert", "--from", model, "--to", tmp_path / "direct.gguf", "--type", "q8")
    one, other = gguf.GGUFReader(tmp_path / "small.gguf"), gguf.GGUFReader(tmp_path / "direct.gguf")
    assert all(np.array_equal(a.data, b.data) and a.name == b.name for a, b in zip(one.tensors, other.tensors))
    keys = [key for key in other.fields if key.startswith("tokenizer.")]
    assert all(one.fields[key].contents() == other.fields[key].contents() for key in keys) and len(keys) > 8
    minimind("convert", "--from", file, "--to", tmp_path / "again")
    ours, theirs = config(tmp_path / "again"), json.loads((model / "config.json").read_text())
    assert all(ours[key] == theirs[key] for key in theirs)
    assert all(np.array_equal(array, weights(tmp_path / "again")[name]) for name, array in weights(model).items())
    read = json.loads((tmp_path / "again/tokenizer.json").read_text())
    original = json.loads((model / "tokenizer.json").read_text())
    for part in ("added_tokens", "normalizer", "pre_tokenizer", "decoder"):
        assert read[part] == original[part], part
    assert read["model"]["vocab"] == original["model"]["vocab"]
    assert [tuple(pair.split()) for pair in read["model"]["merges"]] == [tuple(pair) for pair in original["model"]["merges"]]


# MARK: - Tokenizers

SPOKEN = ["the river runs", "  two spaces", "naïve café 🙂", "中文字的河流", "the the theatre", "", " ", "▁", "a\nb\tc", "<s>the</s> river", "x" * 40,
          "e\u0301 A\u030a"]


def with_tokenizer(folder, tokenizer_directory, file):
    """A model whose tokenizer.json is this."""
    make_model(folder, tokenizer_directory, vocabulary=len(file["model"]["vocab"]))
    (folder / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    return folder


def tokens(minimind, tokenizer, tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in SPOKEN), encoding="utf-8")
    lines = minimind("tokenizer", "encode", "--tokenizer", tokenizer, "--input", tmp_path / "texts.jsonl", "--json").stdout
    return [json.loads(line) for line in lines.splitlines()]


def test_a_tokenizer_of_sentencepiece_goes_into_a_file_and_back(minimind, tokenizer_directory, tmp_path):
    file = sentencepiece_file(SPOKEN * 20)
    model = with_tokenizer(tmp_path / "m", tokenizer_directory, file)
    assert "gguf" in json.loads(minimind("info", model, "--json").stdout)["uses"]["works"][-1]
    minimind("convert", "--from", model, "--to", tmp_path / "m.gguf")
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    value = {key: fields[f"tokenizer.ggml.{key}"].contents() for key in ("model", "pre", "token_type", "scores", "add_space_prefix")}
    assert (value["model"], value["pre"], value["add_space_prefix"]) == ("llama", "default", True)
    assert value["token_type"][:4] == [2, 3, 3, 6] and value["token_type"][259] == 1
    assert tokens(minimind, model, tmp_path) == tokens(minimind, tmp_path / "m.gguf", tmp_path)
    minimind("convert", "--from", tmp_path / "m.gguf", "--to", tmp_path / "again")
    again = json.loads((tmp_path / "again/tokenizer.json").read_text(encoding="utf-8"))
    assert again["model"]["vocab"] == file["model"]["vocab"] and again["model"]["merges"] == file["model"]["merges"]
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        assert again[part] == file[part], part


@pytest.mark.parametrize("file, reason", [
    (character_file(SPOKEN * 20, LLAMA2), "llama.cpp merges whatever makes a token"),
    (sentencepiece_file(SPOKEN * 20, FORMS["Mistral"]), "with or without one before a text and after each special token"),
], ids=["merges", "spaces"])
def test_what_a_file_cannot_say_of_a_tokenizer_is_refused_and_told_before(minimind, tokenizer_directory, tmp_path, file, reason):
    model = with_tokenizer(tmp_path / "m", tokenizer_directory, file)
    refused = minimind("convert", "--from", model, "--to", tmp_path / "m.gguf", check=False)
    assert refused.returncode == 1 and reason in refused.stderr and not (tmp_path / "m.gguf").exists()
    assert reason in json.loads(minimind("info", model, "--json").stdout)["uses"]["fails"]["convert --format gguf"]


def test_composed_characters_go_into_a_file_and_back(minimind, tokenizer_directory, tmp_path):
    """llama.cpp has no place for it; the file keeps its tokenizer.json."""
    file = json.loads((tokenizer_directory / "tokenizer.json").read_text(encoding="utf-8")) | {"normalizer": {"type": "NFC"}}
    model = with_tokenizer(tmp_path / "m", tokenizer_directory, file)
    minimind("convert", "--from", model, "--to", tmp_path / "m.gguf")
    assert tokens(minimind, model, tmp_path) == tokens(minimind, tmp_path / "m.gguf", tmp_path)
    minimind("convert", "--from", tmp_path / "m.gguf", "--to", tmp_path / "again")
    assert json.loads((tmp_path / "again/tokenizer.json").read_text(encoding="utf-8")) == file


def test_sampling_that_the_file_asks_for_is_used_and_the_rest_is_named(minimind, tokenizer_directory, tmp_path):
    def metadata(writer):
        writer.add_float32("general.sampling.temp", 0.0)
        writer.add_uint32("general.sampling.mirostat", 2)

    gguf_files.write(tmp_path / "m.gguf", tokenizer_directory, "Q4_K", metadata=metadata)
    runs = [minimind("generate", "--model", tmp_path / "m.gguf", "--prompt", "a", "--max-tokens", 6, "--seed", seed) for seed in (1, 2)]
    assert runs[0].stdout == runs[1].stdout and "general.sampling.mirostat" in runs[0].stderr
