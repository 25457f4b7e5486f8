"""Tokenizers as they become elsewhere, read by `minimind tokenizer encode` and by `tokenizers`.

Each case changes the files of one tokenizer as a program that saves them does. What ours reads must give the ids that
`tokenizers` gives for a text by itself, with the tokens that the post-processor adds; what ours refuses must be named.
"""

import copy
import json
import random
import shutil

import pytest
from test_tokenizer import random_text
from tokenizers import Tokenizer

SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def template(single, special=None):
    pieces = [{"Sequence": {"id": part[1:], "type_id": 0}} if part[0] == "$" else {"SpecialToken": {"id": part, "type_id": 0}}
              for part in single.split()]
    special = {"<s>": [1], "</s>": [2]} if special is None else special
    return {"type": "TemplateProcessing", "single": pieces, "pair": pieces + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": ids, "tokens": [name] * len(ids)} for name, ids in special.items()}}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def added(content, id, **flags):
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False) | flags
    return {"id": id, "content": content} | flags


def added_tokens(file, *tokens):
    """The file with added tokens that are not in its vocabulary."""
    size = len(file["model"]["vocab"])
    return {"added_tokens": file["added_tokens"] + [added(content, size + i, **flags) for i, (content, flags) in enumerate(tokens)]}


#: By name: from the file as it was, the members that another program wrote instead.
READ = {
    "a template that adds nothing": lambda file: {"post_processor": template("$A", {})},
    "a template with a begin token": lambda file: {"post_processor": template("<s> $A")},
    "a template with an end token": lambda file: {"post_processor": template("$A </s>")},
    "a template with both": lambda file: {"post_processor": template("<s> $A </s>")},
    "a template with a token of several ids": lambda file: {"post_processor": template("<x> $A", {"<x>": [1, 0, 270]})},
    "ByteLevel last": lambda file: {"post_processor": BYTE_LEVEL | {"trim_offsets": False}},
    "ByteLevel and a template": lambda file: {"post_processor": sequence("processors", BYTE_LEVEL, template("<s> $A"))},
    "a template and ByteLevel": lambda file: {"post_processor": sequence("processors", template("<s> $A </s>"), BYTE_LEVEL)},
    "an empty post-processor": lambda file: {"post_processor": sequence("processors")},
    "RoBERTa's frame": lambda file: {"post_processor": {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False}},
    "BERT's frame": lambda file: {"post_processor": {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}},
    "truncation kept": lambda file: {"truncation": {
        "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
    "padding kept": lambda file: {"padding": {
        "strategy": {"Fixed": 12}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 2, "pad_type_id": 0, "pad_token": "</s>"}},
    "padding to the longest": lambda file: {"padding": {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"}},
    "an empty normalizer": lambda file: {"normalizer": sequence("normalizers")},
    "a pre-tokenizer of one step": lambda file: {"pre_tokenizer": sequence("pretokenizers", BYTE_LEVEL)},
    "a pre-tokenizer in two boxes": lambda file: {
        "pre_tokenizer": sequence("pretokenizers", sequence("pretokenizers", BYTE_LEVEL))},
    "a split before ByteLevel": lambda file: {"pre_tokenizer": sequence(
        "pretokenizers", {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL | {"use_regex": False})},
    "a split before ByteLevel with its own": lambda file: {"pre_tokenizer": sequence(
        "pretokenizers", {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}, BYTE_LEVEL)},
    "trim_offsets false": lambda file: {"pre_tokenizer": BYTE_LEVEL | {"trim_offsets": False}},
    "a decoder of one step": lambda file: {"decoder": sequence("decoders", BYTE_LEVEL)},
    "a decoder with other flags": lambda file: {"decoder": BYTE_LEVEL | {"add_prefix_space": True, "use_regex": False}},
    "merges as text": lambda file: {"model": file["model"] | {"merges": [" ".join(pair) for pair in file["model"]["merges"]]}},
    "bytes as a last resort": lambda file: {"model": file["model"] | {"byte_fallback": True, "fuse_unk": True}},
    "an unknown token": lambda file: {"model": file["model"] | {"unk_token": "<unk>"}},
    "special tokens normalized": lambda file: {"added_tokens": [token | {"normalized": True} for token in file["added_tokens"]]},
    "special tokens that take spaces": lambda file: {
        "added_tokens": [token | {"lstrip": True, "rstrip": True} for token in file["added_tokens"]]},
    "added tokens of every kind": lambda file: added_tokens(
        file, ("<think>", {}), ("</think>", {"special": True}), ("<pad>", {"special": True, "lstrip": True}), ("river", {"single_word": True}),
        ("the", {"normalized": True}), ("the user", {"normalized": True, "rstrip": True}), ("的", {"lstrip": True, "rstrip": True}),
        ("12", {"single_word": True, "rstrip": True}), ("na", {"single_word": True, "normalized": True}), ("user<s>", {}),
        ("s>user", {"normalized": True})),
    "NFC": lambda file: {"normalizer": {"type": "NFC"}},
    "no split": lambda file: {"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}},
    "digits apart": lambda file: {"pre_tokenizer": sequence(
        "pretokenizers", {"type": "Digits", "individual_digits": True}, BYTE_LEVEL)},
    "another split": lambda file: {"pre_tokenizer": sequence(
        "pretokenizers", {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Isolated", "invert": False}, BYTE_LEVEL)},
    "whole words first": lambda file: {"model": file["model"] | {"ignore_merges": True}},
    "an added token of spaces": lambda file: added_tokens(file, ("  ", {}), ("\n\n", {"lstrip": True})),
    "added tokens that overlap": lambda file: added_tokens(
        file, ("ab", {"rstrip": True}), ("aba", {"single_word": True}), ("ba", {}), (" a", {"normalized": True})),
}

#: By name: the members, and what the refusal must name.
REFUSED = {
    "NFKC": (lambda file: {"normalizer": {"type": "NFKC"}}, "normalizer \"NFKC\""),
    "lower case in a box": (lambda file: {"normalizer": sequence("normalizers", {"type": "Lowercase"})}, "Lowercase"),
    "no pre-tokenizer": (lambda file: {"pre_tokenizer": None}, "pre_tokenizer"),
    "a space before each text": (lambda file: {"pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}}, "add_prefix_space"),
    "another decoder": (lambda file: {"decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}}, "pre_tokenizer"),
    "two decoders": (lambda file: {"decoder": sequence("decoders", BYTE_LEVEL, {"type": "Strip", "content": " ", "start": 1, "stop": 0})}, "Strip"),
    "two frames": (lambda file: {"post_processor": sequence("processors", template("<s> $A"), template("$A </s>"))}, "post_processor"),
    "the text twice": (lambda file: {"post_processor": template("$A $A")}, "post_processor"),
    "a frame of no token": (lambda file: {"post_processor": template("<x> $A", {"<x>": [99999]})}, "99999"),
    "dropout": (lambda file: {"model": file["model"] | {"dropout": 0.1}}, "dropout"),
    "word ends": (lambda file: {"model": file["model"] | {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
    "another model": (lambda file: {"model": {"type": "WordLevel", "vocab": file["model"]["vocab"], "unk_token": "<unk>"}}, "WordLevel"),
}


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(11)
    words = ["the", "her", "ing", " over ", "user", " the user ", "river", "river.", "_river", "a", "ab", "aba", "  ", "<think>", "</think> ", " <pad>", "12", "na",
             "user<s>user", "\n\n", "的", "é", "\u3000", "\u200d"]
    plain = ["", "the king ate an apple and the queen told him to go to the sea", "<s>user\n你好</s>\n<s>assistant\n"]
    mixed = ["".join(rng.choice(words) for _ in range(rng.randint(1, 12))) for _ in range(250)]
    return plain + mixed + [random_text(rng) for _ in range(50)]


@pytest.fixture
def changed(tokenizer_directory, tmp_path):
    """Writes the tokenizer with other members of tokenizer.json, and returns its directory."""

    def write(members):
        directory = tmp_path / "tokenizer"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        file = json.loads((tokenizer_directory / "tokenizer.json").read_text(encoding="utf-8"))
        (directory / "tokenizer.json").write_text(json.dumps(file | members(copy.deepcopy(file))), encoding="utf-8")
        return directory

    return write


def theirs(directory):
    """As `transformers` calls it: no truncation and no padding but those of the call."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def our_ids(minimind, directory, texts, *flags, check=True):
    source = directory.parent / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run = minimind("tokenizer", "encode", "--tokenizer", directory, "--input", source, "--json", *flags, check=check)
    return [json.loads(line) for line in run.stdout.splitlines()] if run.returncode == 0 else run.stderr


def assert_same(ours, texts, encodings):
    assert len(ours) == len(texts)
    for text, found, encoding in zip(texts, ours, encodings):
        assert found == encoding.ids, f"{text!r}"


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("name", READ)
def test_what_changes_no_ids_is_read_and_what_does_is_followed(minimind, changed, texts, name, as_text):
    directory = changed(READ[name])
    tokenizer = theirs(directory)
    tokenizer.encode_special_tokens = as_text
    flags = ["--special-as-text"] if as_text else []
    assert_same(our_ids(minimind, directory, texts, *flags), texts, tokenizer.encode_batch(texts))


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_give_other_ids_is_refused_by_name(minimind, changed, texts, name):
    members, named = REFUSED[name]
    said = our_ids(minimind, changed(members), texts[:1], check=False)
    assert isinstance(said, str) and named in said and "tokenizer.json" in said, said


@pytest.mark.parametrize("flag", ["single_word", "lstrip"])
def test_every_character_beside_an_added_token_counts_as_there(minimind, changed, flag):
    directory = changed(lambda file: added_tokens(file, ("<x>", {flag: True, "rstrip": flag == "lstrip"})))
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF and (code % 64 == 0 or not 0x30000 <= code < 0xE0000)]
    groups = [f"{c}<x> <x>{c} 1 " for c in characters]
    texts = ["".join(groups[i:i + 64]) for i in range(0, len(groups), 64)]
    assert_same(our_ids(minimind, directory, texts), texts, theirs(directory).encode_batch(texts))


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_of_such_changes_is_followed_or_refused(minimind, changed, texts, seed):
    """Values of one case in places of others, values dropped and of another kind: never other ids, never a trap."""
    rng = random.Random(seed)

    def places(value, path=()):
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
        for key, part in items:
            if not (path == ("model",) and key in ("vocab", "merges")):
                yield from places(part, path + (key,))

    def mutated(file):
        for _ in range(rng.randint(1, 4)):
            change, _ = rng.choice([(members, "") for members in READ.values()] + list(REFUSED.values()))
            file |= change(copy.deepcopy(file))
        if rng.random() < 0.6:
            path = rng.choice([path for path in places(file) if path])
            parent = file
            for key in path[:-1]:
                parent = parent[key]
            if rng.random() < 0.3:
                del parent[path[-1]]
            else:
                parent[path[-1]] = copy.deepcopy(rng.choice([
                    None, True, False, 0, 1, -1, 2**40, 0.5, "", "ByteLevel", "Sequence", [], {}, [[]], file["post_processor"],
                    file["pre_tokenizer"], file["added_tokens"][:1], BYTE_LEVEL]))
        return file

    read = 0
    for _ in range(12):
        directory = changed(lambda file: mutated(file))
        ours = our_ids(minimind, directory, texts[:40], check=False)
        if isinstance(ours, str):
            assert "tokenizer.json" in ours or "tokenizer_config.json" in ours, ours
            continue
        try:
            tokenizer = theirs(directory)
        except Exception:  # A file that `tokenizers` does not read has no right ids: a flag that means nothing is no boolean.
            continue
        assert_same(ours, texts[:40], tokenizer.encode_batch(texts[:40]))
        read += 1
    assert seed > 0 or read > 0
