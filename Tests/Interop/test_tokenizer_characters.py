"""Tokenizers whose tokens spell characters, with bytes as a last resort, as SentencePiece makes them, against `tokenizers`;
and text that is normalized first."""

import json
import random
import unicodedata

import pytest
from test_tokenizer import SPECIALS, random_text, write_jsonl
from test_tokenizer_files import added_tokens
from test_tokenizer_patterns import PATTERNS, assert_same, assert_same_bytes, ids_of, pattern_text, save, trained
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

MARK = "▁"



REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
PREPEND = {"type": "Prepend", "prepend": MARK}
BACK = [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split}


def steps(key, *parts):
    return {"type": "Sequence", key: list(parts)}


LLAMA2 = {"normalizer": steps("normalizers", PREPEND, REPLACE), "pre_tokenizer": None, "decoder": steps("decoders", *BACK, STRIP)}
#: By name: the members of tokenizer.json around the model.
FORMS = {
    "Llama 2": LLAMA2,
    "Mistral": {"normalizer": None, "pre_tokenizer": metaspace("first", False), "decoder": steps("decoders", *BACK, STRIP)},
    "a mark before each piece": {"normalizer": None, "pre_tokenizer": metaspace("always", True), "decoder": metaspace("always", True)},
    "no mark first": {"normalizer": None, "pre_tokenizer": metaspace("never", True), "decoder": metaspace("never", True)},
    "marks as they come": {"normalizer": None, "pre_tokenizer": metaspace("always", False), "decoder": metaspace("first", False)},
    "Gemma": {"normalizer": REPLACE, "decoder": steps("decoders", *BACK), "pre_tokenizer": {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}},
    "composed": {"normalizer": steps("normalizers", {"type": "NFC"}, PREPEND, REPLACE), "pre_tokenizer": None,
                 "decoder": steps("decoders", *BACK, {"type": "Strip", "content": " ", "start": 3, "stop": 0})},
}


def character_file(corpus, form, marks_inside=False, size=900, **model):
    """A tokenizer.json like SentencePiece's: three special tokens, 256 bytes, then characters and what is merged of them."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    if not marks_inside:
        learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    learner.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, show_progress=False, limit_alphabet=300))
    learned = json.loads(learner.to_str())["model"]
    names = SPECIALS + [f"<0x{byte:02X}>" for byte in range(256)]
    names += sorted(learned["vocab"].keys() - set(names), key=learned["vocab"].get)
    added = [{"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for id, content in enumerate(SPECIALS)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "post_processor": None} | form | {
        "model": learned | {"vocab": {name: id for id, name in enumerate(names)}, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True} | model}


def sentencepiece_file(corpus, form=LLAMA2):
    """The same with all merges that make a token of two others, best first, as `transformers` makes them of SentencePiece's scores."""
    file = character_file(corpus, form)
    ids = file["model"]["vocab"]
    words = {name: id for name, id in ids.items() if id >= len(SPECIALS) + 256}
    ways = [(word[:cut], word[cut:], -id) for word, id in words.items() for cut in range(1, len(word))
            if word[:cut] in words and word[cut:] in words]
    ways.sort(key=lambda way: (ids[way[0]], ids[way[1]]))
    ways.sort(key=lambda way: (way[2], len(way[0]), len(way[1])), reverse=True)
    return file | {"model": file["model"] | {"merges": [list(way[:2]) for way in ways]}}


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(31)
    words = ["the river", " runs", "  ", "   two", MARK, f"a{MARK}b", "<s>", "</s>x", " <s> ", "<0x41>", "🙂", "中文字", "é", "e\u0301", "\n", "\t", "naïve", "the", " the "]
    mixed = ["".join(rng.choice(words) for _ in range(rng.randint(0, 10))) for _ in range(500)]
    return mixed + [random_text(rng) for _ in range(300)] + [pattern_text(rng) for _ in range(200)]


@pytest.mark.parametrize("marks_inside", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_characters_and_bytes_are_the_tokens_of_tokenizers(minimind, tmp_path, texts, name, marks_inside):
    tokenizer = Tokenizer.from_str(json.dumps(character_file(texts, FORMS[name], marks_inside)))
    assert_same(minimind, tokenizer, save(tokenizer, tmp_path / "tokenizer"), texts)


@pytest.mark.parametrize("name", ["Llama 2", "Mistral", "a mark before each piece"])
def test_added_tokens_are_found_among_marks(minimind, tmp_path, texts, name):
    file = character_file(texts, FORMS[name], ignore_merges=name == "Mistral")
    file |= added_tokens(file, ("river", {"normalized": True}), ("<x>", {"lstrip": True}), ("the", {"normalized": True, "single_word": True}),
                         ("runs", {"rstrip": True, "special": True}))
    tokenizer = Tokenizer.from_str(json.dumps(file))
    assert_same(minimind, tokenizer, save(tokenizer, tmp_path / "tokenizer"), texts + ["<x> the river<x>the river runs the"])


def test_any_bytes_are_tokens(minimind, tmp_path, texts):
    assert_same_bytes(minimind, Tokenizer.from_str(json.dumps(character_file(texts, LLAMA2))), tmp_path, seed=32)


def test_a_long_text_is_one_word(minimind, tmp_path, texts):
    """Marks inside of tokens leave nowhere to cut."""
    tokenizer = Tokenizer.from_str(json.dumps(character_file(texts, LLAMA2, marks_inside=True)))
    long = " ".join(texts).replace("<s>", "")
    assert_same(minimind, tokenizer, save(tokenizer, tmp_path / "tokenizer"), [long, long * 3])


def test_text_is_composed(minimind, tmp_path):
    rng = random.Random(33)
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]
    letters = "aeouAn가각각कগகあカΩйאا中 1"
    texts = ["".join(rng.choice(letters) + "".join(rng.choice(marks[:120] if rng.random() < 0.7 else marks) for _ in range(rng.randint(0, 3)))
                     for _ in range(rng.randint(1, 12))) for _ in range(1500)]
    texts += [unicodedata.normalize("NFD", pattern_text(rng)) for _ in range(300)]
    every = [chr(code) for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF]
    groups = [f"é{c}e{c}\u0301{c}\u0316\u0345{c}" for c in every]
    texts += ["x".join(groups[i:i + 64]) for i in range(0, len(groups), 64)]
    tokenizer = trained(PATTERNS["Qwen 2"], texts[:500], 800, normalizers.NFC())
    ours = ids_of(minimind, save(tokenizer, tmp_path / "tokenizer"), write_jsonl(tmp_path / "texts.jsonl", texts))
    for text, ids, encoding in zip(texts, ours, tokenizer.encode_batch(texts), strict=True):
        assert ids == encoding.ids, f"{text!r}"
