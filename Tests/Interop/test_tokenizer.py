"""`minimind tokenizer` against Hugging Face's `tokenizers` package on generated input.

Compared: the tokenizer.json of training, on text full of ties among others; token ids of random Unicode text, of random
bytes and of every code point, with special tokens parsed and as text; decoded text of random ids. The generators are
seeded; a failure shows the case.
"""

import json
import random
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CASES = 6000
SPECIALS = ["<unk>", "<s>", "</s>"]
# First and last code point of blocks whose characters are letters, digits, marks, spaces, emoji, joiners.
BLOCKS = [(0x20, 0x7E), (0x20, 0x7E), (0x00, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF),
          (0x900, 0xDFF), (0x1100, 0x11FF), (0x2000, 0x206F), (0x2070, 0x218F), (0x3000, 0x30FF), (0x4DB0, 0x4E20),
          (0x4E00, 0x9FFF), (0x4E00, 0x9FFF), (0x9FF0, 0xA000), (0xAC00, 0xD7A3), (0xFE00, 0xFFFF), (0x1D400, 0x1D7FF),
          (0x1F300, 0x1FAFF), (0x20000, 0x323AF), (0xE0000, 0xE01EF), (0, 0xD7FF), (0xE000, 0x10FFFF)]
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'l", "'", "  ", "   ", "\n", "\r\n", "\n\n", "\t", " ",
          "\u00a0", "\u3000", "\u2028", "\x85", "<s>", "</s>", "<unk>", "<s", "s>", "</", "<", "user", "assistant", "the ",
          "你好", "的", "。", "，", "12", " 3", "a", "ab", "\ufffd", "\u200d", "a\u0301", "--------", "= = ="]


def random_text(rng):
    parts = []
    for _ in range(rng.choice([1, 2, 5, 12, 30])):
        if rng.random() < 0.5:
            parts.append(rng.choice(PIECES) * rng.choice([1, 1, 1, 2, 7]))
        else:
            first, last = rng.choice(BLOCKS)
            codes = [rng.randint(first, last) for _ in range(rng.choice([1, 2, 4, 9]))]
            parts.append("".join(chr(c) for c in codes if not 0xD800 <= c <= 0xDFFF))
    if rng.random() < 0.01:
        parts.append(rng.choice(["ab", "-", "的", "na ", "\n"]) * rng.randint(100, 1500))
    return "".join(parts)


def random_bytes(rng):
    """Bytes that are text in part: cut characters, stray continuation bytes, surrogates, overlong forms."""
    data = bytearray()
    for _ in range(rng.choice([1, 2, 5, 12])):
        kind = rng.randrange(4)
        if kind == 0:
            data += rng.randbytes(rng.choice([1, 2, 4, 9]))
        elif kind == 1:
            encoded = random_text(rng).encode()[:40]
            data += encoded[rng.randint(0, 3):len(encoded) - rng.randint(0, 3)]
        elif kind == 2:
            data += rng.choice([b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xf0\x9f\x98",
                                b"\xe4\xbd", b"\xff", b"\x80", b"\xf0\x80\x80\x80", b"\xf8\x88\x80\x80\x80"])
        else:
            data += rng.choice(PIECES).encode()
    return bytes(data).replace(b"\n", b" ")


def trained(corpus, vocabulary_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def corpus_of_ties(rng):
    """Few letters and short words: nearly every merge is a tie, and different pairs spell the same token."""
    letters = rng.choice(["ab", "abc", "aé", "的一不", "abcdefgh", "a1 -", "x\n "])
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 12))) for _ in range(rng.randint(5, 120))]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(1, 12))) for _ in range(rng.randint(3, 60))]


def unicode_corpus(rng):
    return [random_text(rng) for _ in range(400)]


def own_text(rng):
    """The project's own documents and questions: running text in two languages."""
    paths = sorted([*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("scripts/corpora/*.jsonl")])
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line]


def write_jsonl(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def assert_same_model(minimind, folder, lines, size, threads):
    """Trains both on the lines and compares vocabulary and merges."""
    source = write_jsonl(folder / "corpus.jsonl", lines)
    minimind("tokenizer", "train", "--input", source, "--output", folder / "ours", "--vocab-size", size, "--threads", threads)
    ours = json.loads((folder / "ours/tokenizer.json").read_text())["model"]
    assert ours == json.loads(trained(lines, size).to_str())["model"], f"vocabulary {size}, text in {source}"


@pytest.mark.parametrize("corpus, count, sizes", [
    (corpus_of_ties, 40, [262, 270, 300, 400, 1000]), (unicode_corpus, 3, [400, 1500]), (own_text, 2, [1000, 3000])])
def test_training_learns_the_merges_of_bpe_trainer(minimind, tmp_path, corpus, count, sizes):
    rng = random.Random(1)
    for _ in range(count):
        assert_same_model(minimind, tmp_path, corpus(rng), rng.choice(sizes), threads=rng.choice([1, 2]))


@pytest.mark.parametrize("size", [260, 700, 2500])
def test_training_on_the_fixture_corpus_learns_the_merges_of_bpe_trainer(minimind, shared, tmp_path, size):
    text = (shared / "fixtures/tokenizer/train_corpus.jsonl").read_text(encoding="utf-8")
    assert_same_model(minimind, tmp_path, [json.loads(line)["text"] for line in text.split("\n") if line], size, threads=2)


@pytest.fixture(scope="module")
def random_pair(tmp_path_factory):
    """A tokenizer that `tokenizers` learned from random text, and the directory from which ours reads it."""
    directory = tmp_path_factory.mktemp("random")
    rng = random.Random(2)
    theirs = trained([random_text(rng) for _ in range(2000)], 3000)
    theirs.save(str(directory / "tokenizer.json"))
    return theirs, directory


@pytest.fixture(scope="module")
def v1_pair(shared, tmp_path_factory):
    """The tokenizer of MiniMind v1."""
    directory = tmp_path_factory.mktemp("v1")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((shared / f"fixtures/tokenizer/minimind_v1_{name}").read_bytes())
    return Tokenizer.from_file(str(directory / "tokenizer.json")), directory


@pytest.fixture(params=["random_pair", "v1_pair"])
def pair(request):
    return request.getfixturevalue(request.param)


def assert_same_ids(minimind, pair, source, texts, as_text=False):
    theirs, directory = pair
    theirs.encode_special_tokens = as_text
    flags = ["--special-as-text"] if as_text else []
    lines = minimind("tokenizer", "encode", "--tokenizer", directory, "--input", source, "--json", *flags).stdout.split("\n")[:-1]
    expected = theirs.encode_batch(texts, add_special_tokens=False)
    assert len(lines) == len(texts)
    for text, line, encoding in zip(texts, lines, expected):
        assert json.loads(line) == encoding.ids, f"{text!r}"


@pytest.mark.parametrize("as_text", [False, True])
def test_any_unicode_text_is_encoded_alike(minimind, pair, tmp_path, as_text):
    rng = random.Random(3)
    texts = [random_text(rng) for _ in range(CASES)]
    assert_same_ids(minimind, pair, write_jsonl(tmp_path / "cases.jsonl", texts), texts, as_text)


@pytest.mark.parametrize("as_text", [False, True])
def test_any_bytes_are_encoded_alike_broken_utf8_being_replaced(minimind, pair, tmp_path, as_text):
    rng = random.Random(4)
    cases = [random_bytes(rng) for _ in range(CASES // 2)]
    source = tmp_path / "cases.txt"
    source.write_bytes(b"".join(case + b"\n" for case in cases))
    assert_same_ids(minimind, pair, source, [case.decode("utf-8", errors="replace") for case in cases], as_text)


def test_every_code_point_is_split_alike(minimind, random_pair, tmp_path):
    # Planes 4 to 13 hold no character; every 16th code point stands for them.
    every = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF and (code % 16 == 0 or not 0x40000 <= code < 0xE0000)]
    # Beside a letter, a number, a sign and a space: each joins the character to its own class only.
    groups = [f"{c}a{c}1{c}! {c}" for c in map(chr, every)]
    texts = ["".join(groups[i:i + 64]) for i in range(0, len(groups), 64)]
    assert_same_ids(minimind, random_pair, write_jsonl(tmp_path / "cases.jsonl", texts), texts)


@pytest.mark.parametrize("skips", [False, True])
def test_any_ids_are_decoded_alike(minimind, pair, tmp_path, skips):
    theirs, directory = pair
    rng = random.Random(5)
    cases = [[rng.randrange(theirs.get_vocab_size()) if rng.random() < 0.6 else rng.randrange(260)
              for _ in range(rng.randint(0, 30))] for _ in range(CASES // 4)]
    source = tmp_path / "ids.txt"
    source.write_text("".join(json.dumps(case) + "\n" for case in cases))
    flags = ["--skip-special-tokens"] if skips else []
    lines = minimind("tokenizer", "decode", "--tokenizer", directory, "--input", source, "--json", *flags).stdout.split("\n")[:-1]
    assert len(lines) == len(cases)
    for case, line, text in zip(cases, lines, theirs.decode_batch(cases, skip_special_tokens=skips)):
        assert json.loads(line) == text, f"{case}"


def test_a_blank_row_is_answered_in_its_place(minimind, pair, tmp_path):
    theirs, directory = pair
    ids = theirs.encode("the river", add_special_tokens=False).ids
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "the river"}\r\n\r\n \n\n{"text": "the river"}\n')
    encode = ["tokenizer", "encode", "--tokenizer", directory, "--input", tmp_path / "rows.jsonl"]
    lines = minimind(*encode, "--json").stdout.split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [ids, [], [], [], ids]
    text = " ".join(map(str, ids))
    assert minimind(*encode).stdout == f"{text}\n\n\n\n{text}\n"


def test_ids_may_stand_on_lines_that_end_as_windows_writes_them(minimind, pair, tmp_path):
    theirs, directory = pair
    (tmp_path / "ids.txt").write_bytes(b"270 275\r\n[270, 275]\r\n\r\n")
    run = minimind("tokenizer", "decode", "--tokenizer", directory, "--input", tmp_path / "ids.txt", "--json")
    lines = run.stdout.split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [theirs.decode([270, 275])] * 2 + [""]


def peak_memory(command):
    """Bytes of the largest resident size of a command. A small Python starts it: a process counts as its own the memory
    of the one that started it, up to the moment when it becomes another program."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); " \
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    output = subprocess.run([sys.executable, "-c", script, *map(str, command)], check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return int(output.stdout) * 1024


@pytest.mark.parametrize("threads", ["1", "2"])
def test_memory_of_training_goes_with_the_distinct_words_not_with_the_text(binary, tmp_path, threads):
    rng = random.Random(6)
    words = ["".join(rng.choices("abcdefghij的一不", k=rng.randint(2, 9))) for _ in range(50_000)]
    text = "\n".join(" ".join(rng.choices(words, k=12)) for _ in range(50_000)) + "\n"
    peaks = []
    for repeats in (1, 10):
        source = tmp_path / f"{repeats}.txt"
        source.write_text(text * repeats)
        peaks.append(peak_memory([
            binary, "tokenizer", "train", "--input", source, "--output", tmp_path / "tokenizer", "--vocab-size", 2000, "--threads", threads]))
    # Ten times the text: only the buffers of reading may differ, some megabytes.
    assert peaks[1] < peaks[0] + 32 * 2**20, f"{peaks[0] / 2**20:.0f} MiB, then {peaks[1] / 2**20:.0f} MiB"
