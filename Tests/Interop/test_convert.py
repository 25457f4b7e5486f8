"""`minimind convert`: GGUF files as the `gguf` package reads them, round trips between formats, and its refusals.

What needs PyTorch stands in test_convert_torch.py, what needs llama.cpp in test_llama_cpp.py.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGUFReader
from random_model import make_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

TEMPLATE_TYPES = {"fp32": gguf.GGMLQuantizationType.F32, "fp16": gguf.GGMLQuantizationType.F16,
                  "bf16": gguf.GGMLQuantizationType.BF16, "q8": gguf.GGMLQuantizationType.Q8_0,
                  "q4": gguf.GGMLQuantizationType.Q4_0}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, minimind):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text("The quick brown fox. 你好，世界。\n" * 9, encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "tokenizer", "--vocab-size", 280)
    return folder / "tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_model(tmp_path_factory.mktemp("model") / "model", tokenizer, scale=0.15)


def weights(directory):
    """All weights of a Hugging Face directory, one file or shards."""
    return {name: value for path in sorted(Path(directory).glob("*.safetensors")) for name, value in load_file(path).items()}


def adjacent_pairs(rows, heads):
    """Rows of Wq or Wk in the order that rotates adjacent dimensions: `permute` in llama.cpp's conversion/llama.py."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def gguf_name(name):
    """The name of a Llama weight in GGUF, from the package's own table."""
    return gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2).get_name(name, try_suffixes=(".weight",))


def value(reader, key):
    return reader.fields[key].contents()


@pytest.mark.parametrize("encoding", TEMPLATE_TYPES)
def test_a_gguf_file_holds_the_model_in_the_requested_type(minimind, model, tmp_path, encoding):
    minimind("convert", "--from", model, "--to", tmp_path / "m.gguf", "--type", encoding)
    reader = GGUFReader(tmp_path / "m.gguf")
    assert value(reader, "GGUF.version") == 3 and value(reader, "general.architecture") == "llama"
    expected = {gguf_name(name): array for name, array in weights(model).items()}
    assert {tensor.name for tensor in reader.tensors} == set(expected)
    for tensor in reader.tensors:
        array = expected[tensor.name]
        for part, heads in (("attn_q.", 4), ("attn_k.", 2)):
            if part in tensor.name:
                array = adjacent_pairs(array, heads)
        kind = TEMPLATE_TYPES["fp32" if array.ndim == 1 else encoding]
        assert tensor.tensor_type == kind and tensor.shape.tolist() == list(array.shape[::-1])
        # To the bit what the package's own quantisation makes of the weights.
        assert np.array_equal(tensor.data.view(np.uint8).ravel(), gguf.quantize(array, kind).view(np.uint8).ravel())


def test_a_gguf_file_says_the_sizes_the_tokenizer_and_the_chat(minimind, model, tokenizer, tmp_path):
    minimind("convert", "--from", model, "--to", tmp_path / "my model.gguf")
    reader = GGUFReader(tmp_path / "my model.gguf")
    sizes = {"context_length": 512, "embedding_length": 64, "block_count": 2, "feed_forward_length": 128, "vocab_size": 280,
             "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 16,
             "attention.value_length": 16, "rope.dimension_count": 16, "rope.freq_base": 10000.0}
    assert {key: value(reader, "llama." + key) for key in sizes} == sizes
    assert value(reader, "llama.attention.layer_norm_rms_epsilon") == np.float32(1e-5)
    assert value(reader, "general.name") == "my model"
    file = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    ids = file["model"]["vocab"]
    assert value(reader, "tokenizer.ggml.tokens") == sorted(ids, key=ids.get)
    assert value(reader, "tokenizer.ggml.merges") == [" ".join(pair) for pair in file["model"]["merges"]]
    assert value(reader, "tokenizer.ggml.token_type") == [3] * 3 + [1] * 277
    assert value(reader, "tokenizer.ggml.model") == "gpt2" and value(reader, "tokenizer.ggml.pre") == "gpt-2"
    for name, token in (("bos", 1), ("eos", 2), ("unknown", 0)):
        assert value(reader, f"tokenizer.ggml.{name}_token_id") == token
    assert not value(reader, "tokenizer.ggml.add_bos_token") and not value(reader, "tokenizer.ggml.add_eos_token")
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert value(reader, "tokenizer.chat_template") == settings["chat_template"]
    modelfile = (tmp_path / "my model.Modelfile").read_text(encoding="utf-8")
    assert modelfile.startswith("FROM ./my model.gguf\n") and 'PARAMETER stop "</s>"\n' in modelfile
    assert "TEMPLATE" in modelfile


def test_a_result_in_the_current_folder_needs_no_path(minimind, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Foundation has a fault with names of one letter.
    for name in ("m.gguf", "m.pth", "m"):
        minimind("convert", "--from", model, "--to", name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.Modelfile", "m.gguf", "m.pth"]


def test_another_chat_template_goes_along_and_ollama_is_left_to_read_it(minimind, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/chat_template.jinja").write_text("{{ messages[0].content }}")
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf")
    assert value(GGUFReader(tmp_path / "m.gguf"), "tokenizer.chat_template") == "{{ messages[0].content }}"
    assert "TEMPLATE" not in (tmp_path / "m.Modelfile").read_text()


def test_a_vocabulary_larger_than_the_tokenizer_is_filled_with_unused_tokens(minimind, tokenizer, tmp_path):
    make_model(tmp_path / "model", tokenizer, vocabulary=320)
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf")
    reader = GGUFReader(tmp_path / "m.gguf")
    assert value(reader, "tokenizer.ggml.tokens")[280:] == [f"[PAD{i}]" for i in range(280, 320)]
    assert value(reader, "tokenizer.ggml.token_type")[279:281] == [1, 5]


def test_rotary_scaling_goes_along_where_the_format_has_it(minimind, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())

    def convert(scaling, name):
        (tmp_path / "model/config.json").write_text(json.dumps(config | {"rope_scaling": scaling}))
        return minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / name, check=False)

    for scaling, original in (({"rope_type": "linear", "factor": 2.0}, None), ({"rope_type": "yarn", "factor": 4.0}, 512)):
        name = scaling["rope_type"] + ".gguf"
        assert convert(scaling, name).returncode == 0
        assert json.loads(minimind("info", tmp_path / "model", "--json").stdout)["rope_scaling"] == scaling
        assert f"{scaling['rope_type']}, factor {scaling['factor']:g}" in minimind("info", tmp_path / "model").stdout
        reader = GGUFReader(tmp_path / name)
        assert value(reader, "llama.rope.scaling.type") == scaling["rope_type"]
        assert value(reader, "llama.rope.scaling.factor") == scaling["factor"]
        if original:
            assert value(reader, "llama.rope.scaling.original_context_length") == original
    for scaling in ({"rope_type": "dynamic", "factor": 2.0}, {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16}):
        assert convert(scaling, "m.pth").returncode == 1
        run = convert(scaling, "other.gguf")
        assert run.returncode == 1 and "llama.cpp has" in run.stderr and not (tmp_path / "other.gguf").exists()


def test_info_says_what_works_and_what_does_not(minimind, model, tmp_path):
    uses = json.loads(minimind("info", model, "--json").stdout)["uses"]
    assert uses["problems"] == {} and {"chat", "sft", "convert --format gguf", "convert --format pth"} <= set(uses["works"])
    assert list(uses["fails"]) == ["convert --format lora"]

    def changed(name, **settings):
        shutil.copytree(model, tmp_path / name)
        config = json.loads((model / "config.json").read_text()) | settings
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        return tmp_path / name

    other = minimind("info", changed("other", rope_theta=5e5), "--json")
    assert "rotary base 500000" in json.loads(other.stdout)["uses"]["fails"]["convert --format pth"]
    # What cannot be read at all is an error, which says what of it is of use.
    unknown = minimind("info", changed("unknown", architectures=["GemmaForCausalLM"]), "--json", check=False)
    uses = json.loads(unknown.stdout)
    assert unknown.returncode == 1 and "GemmaForCausalLM" in unknown.stderr and "GemmaForCausalLM" in uses["problems"]["weights"]
    assert uses["fails"]["chat"] == "weights" and "data sft" in uses["works"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "other" / name).unlink()
    plain = minimind("info", tmp_path / "other").stdout
    assert "generate, eval, serve, chat, data pretrain, data sft, data dpo, data kto, data grpo, convert --format gguf: tokenizer" in plain


def test_weights_survive_every_round_trip_to_the_bit(minimind, model, tmp_path):
    original = weights(model)
    (tmp_path / "config").mkdir()
    config = json.loads((model / "config.json").read_text()) | {"pad_token_id": 0, "transformers_version": "9.9"}
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "model/generation_config.json").write_text('{"temperature": 0.25}')
    source = tmp_path / "model"
    steps = [("a.pth", []), ("b", ["--heads", 4]), ("c.pth", []), ("d", ["--heads", 4, "--max-shard-size", 1])]
    for name, options in steps:
        report = minimind("convert", "--from", source, "--to", tmp_path / name, *options).stdout
        assert ("512 tokens, as MiniMind v1 trains" in report) == (source.suffix == ".pth")
        source = tmp_path / name
    for directory in ("b", "d"):
        result = weights(tmp_path / directory)
        assert result.keys() == original.keys()
        assert all(np.array_equal(result[name].view(np.uint32), original[name].view(np.uint32)) for name in original)

    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "sharded", "--type", "fp16", "--max-shard-size", 1)
    kept = json.loads((tmp_path / "sharded/config.json").read_text())
    assert kept["pad_token_id"] == 0 and kept["transformers_version"] == "9.9" and kept["torch_dtype"] == "float16"
    assert json.loads((tmp_path / "sharded/generation_config.json").read_text()) == {"temperature": 0.25}
    assert all(np.array_equal(array, original[name].astype(np.float16)) for name, array in weights(tmp_path / "sharded").items())
    minimind("convert", "--from", tmp_path / "sharded", "--to", tmp_path / "whole")
    assert all(np.array_equal(array, original[name].astype(np.float16)) for name, array in weights(tmp_path / "whole").items())


def test_shards_are_no_larger_than_asked_and_an_index_lists_them(minimind, tokenizer, tmp_path):
    make_model(tmp_path / "model", tokenizer, vocabulary=20000)
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "sharded", "--max-shard-size", 1)
    shards = sorted(path.name for path in (tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 1 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    index = json.loads((tmp_path / "sharded/model.safetensors.index.json").read_text())
    for name in shards:
        held = load_file(tmp_path / "sharded" / name)
        assert {key for key, shard in index["weight_map"].items() if shard == name} == set(held)
        assert len(held) == 1 or sum(array.nbytes for array in held.values()) <= 1_000_000
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in weights(tmp_path / "model").values())
    again, original = weights(tmp_path / "sharded"), weights(tmp_path / "model")
    assert again.keys() == original.keys() and all(np.array_equal(again[name], original[name]) for name in original)


def test_an_adapter_on_16_bits_loses_nothing_and_is_remembered(minimind, model, tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    minimind("convert", "--from", model, "--to", base, "--type", "fp16")
    (base / "config.json").write_text(json.dumps(json.loads((base / "config.json").read_text()) | {"pad_token_id": 0}))
    (base / "generation_config.json").write_text('{"temperature": 0.25}')
    # As PEFT may leave it: without a tokenizer, and without a word about the base's weights.
    adapter.mkdir()
    random, name = np.random.default_rng(1), "base_model.model.model.layers.0.mlp.down_proj."
    save_file({name + "lora_A.weight": random.normal(0, 0.1, (4, 128)).astype(np.float32),
               name + "lora_B.weight": random.normal(0, 0.1, (64, 4)).astype(np.float32)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "lora_alpha": 4, "target_modules": ["down_proj"]}))

    minimind("merge", "--adapter", adapter, "--to", tmp_path / "merged")
    assert "fp32, no bit lost" in minimind("convert", "--from", adapter, "--to", tmp_path / "whole").stdout
    merged, whole = weights(tmp_path / "merged"), weights(tmp_path / "whole")
    assert merged.keys() == whole.keys()
    assert all(np.array_equal(whole[name].view(np.uint32), merged[name].view(np.uint32)) for name in merged)
    report = minimind("convert", "--from", adapter, "--to", tmp_path / "rounded", "--type", "fp16").stdout
    assert "fp16, rounded from fp32" in report
    minimind("convert", "--from", tmp_path / "merged", "--to", tmp_path / "merged-f16", "--type", "fp16")
    for result in (tmp_path / "whole", tmp_path / "rounded", tmp_path / "merged-f16"):
        assert json.loads((result / "config.json").read_text())["pad_token_id"] == 0
        assert json.loads((result / "generation_config.json").read_text()) == {"temperature": 0.25}
        assert (result / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
        with safe_open(result / "model.safetensors", "np") as file:
            assert len(file.metadata()["minimind.merged_adapters"]) == 64
        again = minimind("merge", "--adapter", adapter, "--from", result, "--to", tmp_path / "twice", check=False)
        assert again.returncode == 1 and "is merged into" in again.stderr and not (tmp_path / "twice").exists()


def test_weights_of_several_types_are_converted_without_loss(minimind, model, tmp_path):
    shutil.copytree(model, tmp_path / "mixed")
    mixed = weights(model)
    mixed["model.embed_tokens.weight"] = mixed["model.embed_tokens.weight"].astype(np.float16)
    save_file(mixed, tmp_path / "mixed/model.safetensors")
    assert "fp32, no bit lost" in minimind("convert", "--from", tmp_path / "mixed", "--to", tmp_path / "whole").stdout
    whole = weights(tmp_path / "whole")
    assert all(np.array_equal(whole[name], mixed[name]) for name in mixed)
    # Norms stay in fp32 in GGUF, and nowhere else.
    halves = {name: value.astype(np.float16) if value.ndim == 2 else value for name, value in weights(model).items()}
    save_file(halves, tmp_path / "mixed/model.safetensors")
    for target, type in [("m.gguf", "fp16"), ("m", "fp32"), ("m.pth", "fp32")]:
        report = minimind("convert", "--from", tmp_path / "mixed", "--to", tmp_path / target).stdout
        assert f"{type}, no bit lost" in report, target


def test_what_a_pth_does_not_say_is_asked_for_or_said_and_never_called_exact(minimind, tokenizer, tmp_path):
    def checkpoint(keys, name):
        """The weights of a model of 4 heads of 16 with so many key/value heads, as v1's files have them."""
        directory = make_model(tmp_path / name, tokenizer)
        config = json.loads((directory / "config.json").read_text()) | {"num_key_value_heads": keys}
        stored = weights(directory)
        for layer in range(config["num_hidden_layers"]):
            for key in ("k_proj", "v_proj"):
                stored[f"model.layers.{layer}.self_attn.{key}.weight"] = np.full((16 * keys, 64), 0.01, np.float32)
        save_file(stored, directory / "model.safetensors")
        (directory / "config.json").write_text(json.dumps(config))
        minimind("convert", "--from", directory, "--to", tmp_path / f"{name}.pth")
        return tmp_path / f"{name}.pth"

    # Keys of half the width, as v1 has them: 16 heads are assumed, and said to be.
    v1 = checkpoint(2, "v1")
    report = minimind("convert", "--from", v1, "--to", tmp_path / "a").stdout
    assert "16 heads (--heads), rotary base 10000 (--rope-theta): as MiniMind v1 has them" in report and "no bit lost" not in report
    report = minimind("convert", "--from", v1, "--to", tmp_path / "b", "--heads", 4).stdout
    assert "heads (--heads)" not in report and "rotary base 10000 (--rope-theta)" in report and "no bit lost" not in report
    report = minimind("convert", "--from", v1, "--to", tmp_path / "c", "--heads", 4, "--rope-theta", 10000).stdout
    assert "assumed" not in report and "fp32, no bit lost" in report
    # Of a quarter, as MiniMind2 has them: the same numbers would make another model.
    later = checkpoint(1, "later")
    refused = minimind("convert", "--from", later, "--to", tmp_path / "d", check=False)
    assert refused.returncode == 1 and "--heads and --rope-theta; for MiniMind2 these are 8 and 1000000" in refused.stderr
    minimind("convert", "--from", later, "--to", tmp_path / "e", "--heads", 4, "--rope-theta", 5e5)
    config = json.loads((tmp_path / "e/config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["rope_theta"]) == (4, 1, 5e5)
    refused = minimind("convert", "--from", tmp_path / "e", "--to", tmp_path / "f.pth", check=False)
    assert refused.returncode == 1 and "rotary base" in refused.stderr


def test_the_tokenizer_that_is_named_goes_along(minimind, model, tokenizer, tmp_path):
    minimind("convert", "--from", model, "--to", tmp_path / "a.pth")
    minimind("convert", "--from", tmp_path / "a.pth", "--to", tmp_path / "b", "--heads", 4, "--tokenizer", tokenizer)
    assert (tmp_path / "b/tokenizer.json").read_bytes() == (tokenizer / "tokenizer.json").read_bytes()
    minimind("convert", "--from", tmp_path / "a.pth", "--to", tmp_path / "b.gguf", "--heads", 4, "--tokenizer", tokenizer)
    minimind("generate", "--model", tmp_path / "b", "--prompt", "The", "--max-tokens", 3)


@pytest.mark.parametrize("options, code, text", [
    (["--from", "MODEL", "--to", "MODEL"], 1, "exists already. Choose another --to, or remove it."),
    (["--from", "MODEL", "--to", "new", "--type", "q8_0"], 2, "--type q8 goes with --format gguf"),
    (["--from", "MODEL", "--to", "new.gguf", "--max-shard-size", "5"], 2, "--max-shard-size goes with --format hf"),
    (["--from", "MODEL", "--to", "new.pth", "--tokenizer", "MODEL"], 2, "a .pth holds weights only"),
    (["--from", "MODEL", "--to", "new", "--heads", "4"], 2, "--heads, --rope-theta, --experts-per-token and --tower go with a .pth"),
    (["--from", "MODEL", "--to", "new", "--format", "zip"], 2, '--format is "zip"; it must be hf, lora, pth, gguf.'),
    (["--from", "nowhere", "--to", "new"], 1, "nowhere is not a model"),
    (["--from", "MODEL/config.json", "--to", "new"], 1, "it is no zip archive"),
    (["--from", "MODEL/empty", "--to", "new"], 1, "the file is empty"),
    (["--from", "PTH", "--to", "new", "--heads", "7"], 1, "a width of 64 cannot be cut into 7 heads"),
    (["--from", "PTH", "--to", "new.gguf", "--heads", "4"], 2, "give its directory with --tokenizer"),
])
def test_what_cannot_be_done_is_refused_in_one_sentence_and_leaves_nothing(minimind, model, tmp_path, options, code, text):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/empty").touch()
    minimind("convert", "--from", model, "--to", tmp_path / "v1.pth")
    before = sorted(tmp_path.rglob("*"))
    names = {"MODEL": "model", "PTH": "v1.pth"}
    places = [option if option.startswith("--") or previous not in ("--from", "--to", "--tokenizer")
              else tmp_path / names.get(option, option.replace("MODEL", "model"))
              for previous, option in zip([""] + options, options)]
    refused = minimind("convert", *places, check=False)
    assert refused.returncode == code and text in refused.stderr and refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_q8_0_needs_rows_of_whole_blocks(minimind, tmp_path, tokenizer):
    from random_model import SHAPES
    SHAPES["odd"] = SHAPES["tiny"] | {"hidden_size": 48, "intermediate_size": 100}
    make_model(tmp_path / "model", tokenizer, shape="odd")
    refused = minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf", "--type", "q8_0", check=False)
    assert refused.returncode == 1 and "has rows of 48; choose --type bf16, fp16 or fp32" in refused.stderr
    assert not (tmp_path / "m.gguf").exists()
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf", "--type", "fp16")
