"""Tokenizers of other models, as `tokenizers` trains and saves them, against `minimind tokenizer`.

The split patterns are those that the models publish; the vocabularies are learned here, from text with every kind of
character. Compared are ids and text, on generated Unicode and bytes and on every code point.
"""

import json
import random

import pytest
from test_tokenizer import SPECIALS, random_bytes, random_text, write_jsonl
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4_POSSESSIVE = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
QWEN2 = GPT4.replace("{1,3}", "")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def one(pattern):
    return [split(pattern)]


#: By name: the steps before ByteLevel, which splits no further.
PATTERNS = {
    "GPT-4": one(GPT4), "GPT-4, newer": one(GPT4_POSSESSIVE), "Llama 3": one(GPT4), "Qwen 2": one(QWEN2), "o200k": one(O200K), "Kimi": one(KIMI),
    "BLOOM": one(BLOOM),
    "DeepSeek V3": [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3)],
    "DeepSeek coder": [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(True)],
    "GPT-4, what matches not removed": [split(GPT4, "removed", True)],
    "digits": [pre_tokenizers.Digits(True), split(GPT2)],
    "runs of digits": [pre_tokenizers.Digits(False)],
    "spaces removed": [split(r"\s+", "removed")],
    "with the one before": [split(r"[\p{P}\p{S}]", "merged_with_previous")],
    "with the one after": [split(r"\s", "merged_with_next")],
    "runs": [split(r"[\p{Lu}\d]", "contiguous"), pre_tokenizers.Split("a", "merged_with_next")],
    "lines": one(r"^\S+$|\A\s|(?<=a)b+?(?=\p{^L}|\z)|[^\S\n]{2,}?|.{,3}\x{4e00}|(?:\r|\f|\v)(?>\t*)"),
    "nothing": [],
}


def trained(steps, corpus, size=1500, normalizer=None, added=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens(list(added))
    return tokenizer


def pattern_text(rng):
    """Text with what the patterns tell apart: case, digits, marks, breaks, contractions, characters of recent versions."""
    pieces = ["I'm", "we'LL", "it'ſ", "'S", "HTTPServer", "camelCase", "ǅ", "ʰ", "١٢٣٤", "1234567", "12 345", "²½", "e\u0301", "\u0301", "क्षि", "ไทย", "日本語カタカナ",
              "ひらがな", "한국어", "Привет", "Ελλάδα", "a\nb", "\r\n\r\n", " \n  x", "\t\t", "  ", "!!\n", "/path/", "\u180e", "\u0085", "\u2003", "\u1c89\u1c8a", "\U00031350",
              "\U0002ebf0", "\U0001fae9", "\U00011bf0", "\U0001ccf0", "\u0897", "\ua7da", "\U00010d40", "\U00011de0", "aab", "中文", "\u30fb", "。", "…", "(", "|"]
    return "".join(rng.choice(pieces) if rng.random() < 0.6 else random_text(rng)[:8] for _ in range(rng.randint(1, 20)))


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(21)
    return [pattern_text(rng) for _ in range(700)] + [random_text(rng) for _ in range(500)]


def save(tokenizer, directory):
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def ids_of(minimind, directory, source, *flags):
    lines = minimind("tokenizer", "encode", "--tokenizer", directory, "--input", source, "--json", *flags).stdout.split("\n")[:-1]
    return [json.loads(line) for line in lines]


def decoded(minimind, directory, cases, *flags):
    source = directory / "ids.txt"
    source.write_text("".join(json.dumps(case) + "\n" for case in cases))
    run = minimind("tokenizer", "decode", "--tokenizer", directory, "--input", source, "--json", *flags)
    return [json.loads(line) for line in run.stdout.split("\n")[:-1]]


def assert_same(minimind, tokenizer, directory, texts, skipping=(False, True)):
    """Ids of texts, and the texts of ids in any order."""
    ours = ids_of(minimind, directory, write_jsonl(directory / "texts.jsonl", texts))
    assert len(ours) == len(texts)
    for text, ids, encoding in zip(texts, ours, tokenizer.encode_batch(texts)):
        assert ids == encoding.ids, f"{text!r}"
    rng = random.Random(22)
    known = sorted(tokenizer.get_vocab().values())
    cases = [rng.choices(known, k=rng.randint(0, 20)) if rng.random() < 0.5 else rng.choice(ours) for _ in range(400)]
    for skips in skipping:
        expected = tokenizer.decode_batch(cases, skip_special_tokens=skips)
        for case, text, right in zip(cases, decoded(minimind, directory, cases, *(["--skip-special-tokens"] if skips else [])), expected):
            assert text == right, f"{case}"


def assert_same_bytes(minimind, tokenizer, folder, seed):
    """Ids of any bytes, of which those that are no UTF-8 are replaced."""
    rng = random.Random(seed)
    cases = [random_bytes(rng) for _ in range(1500)]
    (folder / "cases.txt").write_bytes(b"".join(case + b"\n" for case in cases))
    ours = ids_of(minimind, save(tokenizer, folder / "tokenizer"), folder / "cases.txt")
    for case, ids in zip(cases, ours, strict=True):
        assert ids == tokenizer.encode(case.decode(errors="replace")).ids, f"{case!r}"


@pytest.mark.parametrize("name", PATTERNS)
def test_published_patterns_split_as_there(minimind, tmp_path, texts, name):
    tokenizer = trained(PATTERNS[name], texts)
    assert_same(minimind, tokenizer, save(tokenizer, tmp_path / "tokenizer"), texts)


@pytest.mark.parametrize("name", ["GPT-4", "o200k", "DeepSeek V3", "DeepSeek coder", "Kimi"])
def test_every_code_point_is_split_alike(minimind, tmp_path, name):
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF and (code % 16 == 0 or not 0x40000 <= code < 0xE0000)]
    groups = [f"A{c}a{c}1{c}!{c}\n{c}" for c in every]
    cases = ["".join(groups[i:i + 64]) for i in range(0, len(groups), 64)]
    tokenizer = trained(PATTERNS[name], cases[::40], 600)
    ours = ids_of(minimind, save(tokenizer, tmp_path / "tokenizer"), write_jsonl(tmp_path / "cases.jsonl", cases))
    for text, ids, encoding in zip(cases, ours, tokenizer.encode_batch(cases), strict=True):
        assert ids == encoding.ids, f"{text!r}"


def test_any_bytes_are_split_alike(minimind, tmp_path, texts):
    assert_same_bytes(minimind, trained(PATTERNS["Llama 3"], texts), tmp_path, seed=23)


def test_words_are_looked_up_and_ids_may_have_gaps(minimind, tmp_path, texts):
    tokenizer = trained(PATTERNS["Llama 3"], texts)
    file = json.loads(tokenizer.to_str())
    model = file["model"]
    # Words that are tokens although no merge makes them, ids that nobody has, and a token far above them.
    model["ignore_merges"] = True
    model["vocab"] |= {"HTTPServer": 2000, "ĠcamelCase": 2003, "river": 2010, "<|end|>": 2100}
    file["added_tokens"] += [{"id": 2100, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                              "special": True}]
    directory = tmp_path / "tokenizer"
    directory.mkdir()
    (directory / "tokenizer.json").write_text(json.dumps(file))
    tokenizer = Tokenizer.from_str(json.dumps(file))
    cases = texts + ["the river HTTPServer camelCase rivers<|end|>river"]
    assert_same(minimind, tokenizer, directory, cases)
    assert decoded(minimind, directory, [[2001, 2010, 2100, 2050]]) == ["river<|end|>"]


@pytest.mark.parametrize("name, pattern, size", [("qwen2", QWEN2, 700), ("llama3", GPT4, 1500), ("llama3", GPT4, 400)])
def test_merges_are_learned_with_a_pattern(minimind, tmp_path, texts, name, pattern, size):
    """The whole file, as `tokenizers` saves it."""
    source = write_jsonl(tmp_path / "corpus.jsonl", texts)
    minimind("tokenizer", "train", "--input", source, "--output", tmp_path / "ours", "--vocab-size", size, "--split", name, "--threads", 2)
    assert json.loads((tmp_path / "ours/tokenizer.json").read_text()) == json.loads(trained([split(pattern)], texts, size).to_str())


#: By name: what a file has, and what the refusal must name.
REFUSED = {
    "Unigram": ({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}}, "Unigram"),
    "WordPiece": ({"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                             "vocab": {"[UNK]": 0}}}, "WordPiece"),
    "NFKC": ({"normalizer": {"type": "NFKC"}}, "NFKC"),
    "punctuation": ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}}, "Punctuation"),
    "an id above all": ({"added_tokens": [{"id": 99999, "content": "<|far|>", "single_word": False, "lstrip": False, "rstrip": False,
                                           "normalized": False, "special": True}]}, "99999"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_kinds_are_refused_by_name(minimind, tmp_path, texts, name):
    members, named = REFUSED[name]
    directory = tmp_path / "tokenizer"
    directory.mkdir()
    (directory / "tokenizer.json").write_text(json.dumps(json.loads(trained(PATTERNS["Qwen 2"], texts[:20], 300).to_str()) | members))
    run = minimind("tokenizer", "encode", "--tokenizer", directory, "--input", directory / "tokenizer.json", check=False)
    assert run.returncode == 1 and named in run.stderr and "tokenizer.json" in run.stderr and run.stderr.count("\n") == 1, run.stderr


@pytest.mark.parametrize("pattern", [
    r"\w+", r"a\b", r"(?m)a", r"\p{Greek}", r"[[:alpha:]]", r"[a&&b]", r"a**", r"\k<a>", "(a", "a)", "[a", r"\R", r"a{2}?", r"(?i:ß)", r"(?i:ss)", "a*",
    r"[b-a]", r"\x", "(" * 5000 + "a" + ")" * 5000, r"(?<=a+)b", r"\h", r"\p{L", "a{99999}"])
def test_what_would_mean_something_else_in_a_pattern_is_named(minimind, tmp_path, pattern):
    file = json.loads(trained([], ["a"], 300).to_str())
    file["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    run = minimind("tokenizer", "encode", "--tokenizer", tmp_path, "--input", tmp_path / "tokenizer.json", check=False)
    assert run.returncode == 1 and "in the pattern" in run.stderr and run.stderr.count("\n") == 1, run.stderr


def test_a_pattern_that_steps_back_for_ever_is_said_and_costs_one_row(minimind, tmp_path):
    tokenizer = trained([split(r"(?:a+)+b|(?:a|a)+c|.")], ["a b"], 300)
    directory = save(tokenizer, tmp_path / "tokenizer")
    rows = ["a short row", "a" * 4000, "another row"]
    run = minimind("tokenizer", "encode", "--tokenizer", directory, "--input", write_jsonl(tmp_path / "rows.jsonl", rows), check=False)
    assert run.returncode == 1 and "split pattern" in run.stderr and "rows.jsonl:2" in run.stderr and run.stderr.count("\n") == 1, run.stderr
    run = minimind("data", "pretrain", "--input", tmp_path / "rows.jsonl", "--tokenizer", directory, "--output", tmp_path / "data", "--held-out", 0)
    assert "rows.jsonl:2" in run.stderr and "split pattern" in run.stderr, run.stderr
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert [manifest[key] for key in ("rowsRead", "rowsKept", "rowsBroken")] == [3, 2, 1]
