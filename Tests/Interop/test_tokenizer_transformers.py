"""Tokenizers between this program and `transformers`: what it reads, what it saves, and what then becomes of a model of ours."""

import json
import os
import shutil

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import transformers  # noqa: E402
from test_peft import MODELS, base, conversations, train  # noqa: E402, F401
from test_tokenizer_characters import FORMS, character_file  # noqa: E402
from test_tokenizer_files import READ, added_tokens, assert_same, changed, our_ids, texts  # noqa: E402, F401
from test_tokenizer_patterns import PATTERNS, trained  # noqa: E402
from tokenizers import normalizers  # noqa: E402

#: By name: members of tokenizer_config.json that `transformers` reads from older and newer files.
CONFIGURATIONS = {
    "none": {},
    "begin and end asked for": {"add_bos_token": True, "add_eos_token": True},
    "a list of special tokens": {"additional_special_tokens": ["</s>", "<unk>"]},
    "the newer list": {"extra_special_tokens": ["<s>"], "pad_token": "</s>"},
    "special tokens by name": {"extra_special_tokens": {"image_token": "<unk>"}},
    "entries of the vocabulary": {"pad_token": "her", "extra_special_tokens": ["ver"]},
    "one with flags": {"pad_token": {"__type": "AddedToken", "content": "ing", "lstrip": True, "rstrip": True, "single_word": False,
                                     "normalized": False}},
    "added tokens repeated": {"added_tokens_decoder": {
        str(id): {"content": content, "special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
        for id, content in enumerate(["<unk>", "<s>", "</s>"])}},
    "lengths and sides": {"model_max_length": 4, "max_length": 4, "padding_side": "left", "truncation_side": "left", "stride": 2},
}


def automatic(directory):
    return transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)


def assert_same_as_transformers(minimind, directory, texts):
    theirs = automatic(directory)
    for text, found in zip(texts, our_ids(minimind, directory, texts), strict=True):
        assert found == theirs(text)["input_ids"], f"{text!r}"


@pytest.mark.parametrize("name", READ)
def test_files_of_every_kind_give_the_ids_of_transformers(minimind, tokenizer_directory, changed, texts, name):  # noqa: F811
    directory = changed(READ[name])
    configuration = json.loads((tokenizer_directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    if "special tokens" in name:
        # Another configuration would contradict the file.
        del configuration["added_tokens_decoder"]
    (directory / "tokenizer_config.json").write_text(json.dumps(configuration))
    assert_same_as_transformers(minimind, directory, texts)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_of_every_kind_give_the_ids_of_transformers(minimind, changed, texts, name):  # noqa: F811
    directory = changed(lambda file: {})
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(names | CONFIGURATIONS[name]))
    assert_same_as_transformers(minimind, directory, texts)


def test_a_special_tokens_map_counts_where_transformers_reads_it(minimind, changed, texts):  # noqa: F811
    directory = changed(lambda file: {})
    (directory / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}))
    (directory / "special_tokens_map.json").write_text(json.dumps(
        {"pad_token": {"content": "her", "lstrip": False, "normalized": False, "rstrip": True, "single_word": False},
         "additional_special_tokens": ["ver"]}))
    assert_same_as_transformers(minimind, directory, texts)


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n", " "])
def test_a_template_that_ends_otherwise_is_read_if_it_renders_the_same(minimind, tokenizer_directory, tmp_path, end):
    directory = tmp_path / "tokenizer"
    shutil.copytree(tokenizer_directory, directory)
    text = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    (directory / "chat_template.jinja").write_text(text + end, encoding="utf-8")
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    same = automatic(directory).apply_chat_template(messages, tokenize=False) == "<s>user\na</s>\n<s>assistant\nb</s>\n"
    (tmp_path / "row.jsonl").write_text('{"q": "Name a fruit.", "a": "An apple."}\n')
    run = minimind("data", "sft", "--input", tmp_path / "row.jsonl", "--tokenizer", directory, "--output", tmp_path / "data",
                   "--held-out", 0, check=False)
    assert (run.returncode == 0) == same
    assert same or "template" in run.stderr


@pytest.mark.parametrize("kind", [*MODELS, "adapter"])
def test_a_model_whose_tokenizer_transformers_saved_is_the_same_model(
        minimind, base, conversations, texts, tmp_path, kind):  # noqa: F811
    """Trained on data that were prepared before, asked, and converted."""
    model = tmp_path / "model"
    shutil.copytree(base("llama" if kind == "adapter" else kind), tmp_path / "base")
    if kind == "adapter":
        shutil.copytree(train(minimind, tmp_path / "base", conversations, tmp_path / "run") / "model", model)
    else:
        shutil.copytree(tmp_path / "base", model)
    before = our_ids(minimind, model, texts)
    said = ["generate", "--model", model, "--prompt", "the river", "--temperature", 0, "--max-tokens", 8, "--json"]
    answer = json.loads(minimind(*said).stdout)["text"]

    theirs = automatic(model)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (model / file).unlink()
    theirs.save_pretrained(model)
    assert our_ids(minimind, model, texts) == before == [automatic(model)(text)["input_ids"] for text in texts]
    assert json.loads(minimind(*said).stdout)["text"] == answer

    asked = minimind("chat", "--model", model, "--temperature", 0, "--max-tokens", 8, input="what is 1 plus 1?\n")
    assert asked.returncode == 0
    minimind("convert", "--from", model, "--to", tmp_path / "model.gguf")
    minimind("convert", "--from", model, "--to", tmp_path / "again")
    assert our_ids(minimind, tmp_path / "again", texts) == before
    steps = ["--data", conversations, "--steps", 2, "--batch-tokens", 256, "--micro-batch-tokens", 256, "--sequence-length", 128]
    if kind == "adapter":
        minimind("merge", "--adapter", model, "--to", tmp_path / "merged")
        model = tmp_path / "merged"
    minimind("sft", "--from", model, "--output", tmp_path / "sft", *steps)
    minimind("lora", "--from", model, "--output", tmp_path / "lora", *steps)
    assert our_ids(minimind, tmp_path / "sft/model", texts) == before
    assert our_ids(minimind, tmp_path / "lora/model", texts) == before


@pytest.mark.parametrize("name", ["Llama 3", "Qwen 2", "o200k", "DeepSeek V3", *FORMS])
def test_the_tokenizer_of_another_model_stays_what_it_is_with_our_data_and_model(minimind, texts, tmp_path, name):  # noqa: F811
    """Read, saved with data and with a model, and read by `transformers` again."""
    directory = tmp_path / "tokenizer"
    directory.mkdir()
    if name in FORMS:
        text = json.dumps(character_file(texts, FORMS[name]))
    else:
        text = trained(PATTERNS[name], texts, 700, normalizers.NFC() if name == "Qwen 2" else None).to_str()
    (directory / "tokenizer.json").write_text(text)
    begin = None if name == "Qwen 2" else "<s>"
    (directory / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": begin, "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}))
    ids = our_ids(minimind, directory, texts)
    assert ids == [automatic(directory)(text)["input_ids"] for text in texts]

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts if text.strip()))
    minimind("data", "pretrain", "--input", tmp_path / "rows.jsonl", "--tokenizer", directory, "--output", tmp_path / "data", "--held-out", 0)
    minimind("pretrain", "--model", "tiny", "--data", tmp_path / "data", "--output", tmp_path / "run", "--steps", 1, "--batch-tokens", 256,
             "--micro-batch-tokens", 256, "--sequence-length", 64)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "run/model" / file).read_bytes() == (directory / file).read_bytes()
    saved = automatic(tmp_path / "run/model")
    assert ids == [saved(text)["input_ids"] for text in texts]
    said = ["generate", "--model", tmp_path / "run", "--prompt", "the river", "--temperature", 0, "--max-tokens", 8, "--json"]
    assert json.loads(minimind(*said).stdout)["tokens"] > 0
    run = minimind("convert", "--from", tmp_path / "run", "--to", tmp_path / "model.gguf", check=False)
    # llama.cpp has a name for these patterns; of the others it is said what is in the way.
    assert run.returncode == (0 if name in ("Llama 3", "Qwen 2", "o200k") else 1), run.stderr
    assert run.returncode == 0 or "llama.cpp" in run.stderr and "Convert to a directory" in run.stderr, run.stderr
