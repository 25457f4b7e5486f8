"""Weights as they are stored elsewhere: names, shards, types and ties, against what `transformers` makes of the same files."""

import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_transformers import assert_same_logits, load, our_logits, random_documents, random_model, their_logits  # noqa: E402

EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


def output_only(weights):
    return {OUTPUT if name == EMBEDDING else name: value for name, value in weights.items()}


def both(weights, factor):
    return weights | {OUTPUT: weights[EMBEDDING] * factor}


def renamed(change):
    return lambda weights: {change(name): value for name, value in weights.items()}


def tables(weights):
    return weights | {"model.rotary_emb.inv_freq": torch.ones(8), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
                      "model.freqs_cos": torch.ones(256, 16), "model.layers.1.self_attn.rotary_emb.cos_cached": torch.ones(8, 16)}


def of_all_types(weights):
    types = [torch.float32, torch.bfloat16, torch.float16]
    return {name: value.to(types[i % 3]) for i, (name, value) in enumerate(weights.items())}


#: By name: the variant, tie_word_embeddings, and the weights that are stored instead of those of the model.
READ = {
    "tied, embedding only": ("tied", True, dict),
    "tied, output only": ("tied", True, output_only),
    "tied, both": ("tied", True, lambda weights: both(weights, 1)),
    "tied, both but unequal": ("tied", True, lambda weights: both(weights, -0.5)),
    "tied, both in two types": ("tied", True, lambda weights: both(weights, 1) | {OUTPUT: weights[EMBEDDING].bfloat16()}),
    "untied, both equal": ("untied", False, lambda weights: both(weights, 1)),
    "untied, both": ("untied", False, dict),
    "without model.": ("tied", True, renamed(lambda name: name.removeprefix("model."))),
    "model. twice": ("tied", True, renamed(lambda name: "model." + name)),
    "untied, without model.": ("untied", False, renamed(lambda name: name.removeprefix("model."))),
    "tables of rotations": ("tied", True, tables),
    "three types": ("untied", False, of_all_types),
    "three types in a mixture": ("mixture of experts", True, of_all_types),
    "a mixture without model.": ("mixture of experts", True, renamed(lambda name: name.removeprefix("model."))),
    "norms of queries and keys, output only": ("q/k norms", True, output_only),
}

#: What `transformers` itself does not read: wrappers around the model whose state was saved.
WRAPPED = {
    "compiled": renamed(lambda name: "_orig_mod." + name),
    "in parallel": renamed(lambda name: "module." + name),
    "compiled in parallel": renamed(lambda name: "module._orig_mod." + name),
    "compiled inside": renamed(lambda name: name.replace("model.layers.", "model._orig_mod.layers.")),
}


def store(folder, variant, tied, change):
    """A directory of `transformers` with its weights changed; and the model as it was."""
    model = random_model(variant)
    model.save_pretrained(folder / "model")
    weights = change(load_file(folder / "model/model.safetensors"))
    save_file({name: value.clone().contiguous() for name, value in weights.items()}, folder / "model/model.safetensors",
              metadata={"format": "pt"})
    config = json.loads((folder / "model/config.json").read_text())
    (folder / "model/config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
    return model


@pytest.mark.parametrize("name", READ)
def test_weights_stored_in_any_of_these_ways_are_those_of_transformers(minimind, probe, tmp_path, name):
    store(tmp_path, *READ[name])
    documents = random_documents()
    theirs = their_logits(load(tmp_path / "model"), documents)
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), theirs)
    # The same model, whatever becomes of the names.
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "again")
    assert_same_logits(their_logits(load(tmp_path / "again"), documents), theirs)


@pytest.mark.parametrize("name", WRAPPED)
def test_names_that_a_wrapper_left_are_dropped(probe, tmp_path, name):
    model = store(tmp_path, "untied", False, WRAPPED[name])
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), their_logits(model, documents))


@pytest.mark.parametrize("change, named", [
    (lambda weights: output_only(weights), EMBEDDING),
    (lambda weights: {name: value for name, value in weights.items() if name != OUTPUT}, OUTPUT),
    (lambda weights: weights | {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}, "q_proj.bias"),
    (lambda weights: weights | {"_orig_mod.model.norm.weight": weights["model.norm.weight"]}, "model.norm.weight"),
])
def test_a_weight_that_is_missing_left_over_or_there_twice_is_named(minimind, tmp_path, change, named):
    store(tmp_path, "untied", False, change)
    refused = minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "again", check=False)
    assert refused.returncode == 1 and named in refused.stderr and not (tmp_path / "again").exists()


def shards(folder):
    """The model in three shards, and its index."""
    random_model("untied").save_pretrained(folder / "model", max_shard_size="100KB")
    path = folder / "model/model.safetensors.index.json"
    return path, json.loads(path.read_text())


def test_a_shard_may_hold_what_the_index_does_not_know_or_puts_elsewhere(probe, tmp_path):
    path, index = shards(tmp_path)
    names = sorted(set(index["weight_map"].values()))
    assert len(names) > 2
    del index["weight_map"]["model.norm.weight"]
    index["weight_map"]["model.layers.0.input_layernorm.weight"] = names[-1]
    path.write_text(json.dumps(index))
    documents = random_documents()
    assert_same_logits(our_logits(probe, tmp_path, tmp_path / "model", documents), their_logits(load(tmp_path / "model"), documents))


@pytest.mark.parametrize("change, named", [
    (lambda index: index["weight_map"].update({"model.layers.9.input_layernorm.weight": list(index["weight_map"].values())[0]}), "layers.9"),
    (lambda index: index["weight_map"].update({"model.norm.weight": "model-9.safetensors"}), "model-9.safetensors"),
])
def test_an_index_that_promises_what_no_shard_has_is_refused(minimind, tmp_path, change, named):
    path, index = shards(tmp_path)
    change(index)
    path.write_text(json.dumps(index))
    refused = minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "again", check=False)
    assert refused.returncode == 1 and named in refused.stderr
