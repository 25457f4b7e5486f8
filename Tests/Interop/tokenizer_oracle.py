#!/usr/bin/env python3
"""Checks `minimind tokenizer` against Hugging Face's `tokenizers` package on generated input.

Usage: tokenizer_oracle.py MINIMIND_BINARY [--cases 24000] [--seed 1]      (needs `tokenizers` 0.23)

Compared: the tokenizer.json of training on small corpora full of ties; token ids of random Unicode text,
of random bytes and of every code point, with special tokens parsed and as text; decoded text of random ids.
Prints one line a check; the exit code is 1 when anything differs, and the text then names seed and case.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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


def tie_corpus(rng):
    """Few letters and short words: nearly every merge is a tie, and different pairs spell the same token."""
    letters = rng.choice(["ab", "abc", "aé", "的一不", "abcdefgh", "a1 -", "x\n "])
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 12))) for _ in range(rng.randint(5, 120))]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(1, 12))) for _ in range(rng.randint(3, 60))]


def real_corpus(rng):
    return [random_text(rng) for _ in range(400)]


class Oracle:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.failures = binary, pathlib.Path(folder), 0

    def run(self, *arguments):
        return subprocess.run([self.binary, "tokenizer", *map(str, arguments)], check=True, capture_output=True).stdout

    def report(self, name, count, difference):
        if difference:
            self.failures += 1
        print(f"{'FAIL' if difference else 'ok':4}  {name}: {count} cases" + (f"; {difference}" if difference else ""))

    def training(self, rng, count, corpus, sizes):
        difference = None
        for case in range(count):
            lines = corpus(rng)
            size = rng.choice(sizes)
            theirs = trained(lines, size)
            source = self.folder / "corpus.jsonl"
            source.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
            self.run("train", "--input", source, "--output", self.folder / "ours", "--vocab-size", size,
                     "--threads", rng.choice([1, 2]))
            ours = json.loads((self.folder / "ours/tokenizer.json").read_text())
            if ours["model"] != json.loads(theirs.to_str())["model"] and difference is None:
                (self.folder / "differs.jsonl").write_text(source.read_text())
                difference = f"case {case}, vocabulary {size}, text kept in {self.folder}/differs.jsonl"
        self.report(f"training, {corpus.__name__}", count, difference)

    def encoding(self, name, theirs, directory, cases, as_text):
        """`cases` are texts (sent as JSONL) or bytes (sent as lines)."""
        theirs.encode_special_tokens = as_text
        raw = isinstance(cases[0], bytes)
        source = self.folder / ("cases.txt" if raw else "cases.jsonl")
        if raw:
            source.write_bytes(b"".join(case + b"\n" for case in cases))
            texts = [case.decode("utf-8", errors="replace") for case in cases]
        else:
            source.write_text("".join(json.dumps({"text": case}) + "\n" for case in cases))
            texts = cases
        flags = ["--special-as-text"] if as_text else []
        output = self.run("encode", "--tokenizer", directory, "--input", source, "--json", *flags).splitlines()
        expected = [encoding.ids for encoding in theirs.encode_batch(texts, add_special_tokens=False)]
        difference = None if len(output) == len(cases) else f"{len(output)} lines for {len(cases)} cases"
        for case, ids, line in zip(cases, expected, output):
            if json.loads(line) != ids:
                difference = f"{case!r}: ours {json.loads(line)}, theirs {ids}"
                break
        self.report(name + (", special as text" if as_text else ""), len(cases), difference)

    def decoding(self, name, theirs, directory, cases, skips):
        source = self.folder / "ids.txt"
        source.write_text("".join(json.dumps(case) + "\n" for case in cases))
        flags = ["--skip-special-tokens"] if skips else []
        output = self.run("decode", "--tokenizer", directory, "--input", source, "--json", *flags).splitlines()
        expected = theirs.decode_batch(cases, skip_special_tokens=skips)
        difference = None if len(output) == len(cases) else f"{len(output)} lines for {len(cases)} cases"
        for case, text, line in zip(cases, expected, output):
            if json.loads(line) != text:
                difference = f"{case}: ours {json.loads(line)!r}, theirs {text!r}"
                break
        self.report(name + (", specials skipped" if skips else ""), len(cases), difference)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--cases", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(options.binary, folder)
        oracle.training(rng, 60, tie_corpus, [262, 270, 300, 400, 1000])
        oracle.training(rng, 4, real_corpus, [400, 1500])

        theirs = trained([random_text(rng) for _ in range(3000)], 3000)
        directory = pathlib.Path(folder) / "theirs"
        directory.mkdir()
        theirs.save(str(directory / "tokenizer.json"))
        half = options.cases // 2
        for as_text in [False, True]:
            oracle.encoding("encoding Unicode", theirs, directory, [random_text(rng) for _ in range(half)], as_text)
            oracle.encoding("encoding bytes", theirs, directory, [random_bytes(rng) for _ in range(half // 2)], as_text)
        every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
        groups = [f"a{c} {c}1{c}\t{c}!{c}" for c in every]
        every_case = ["x".join(groups[i:i + 64]) for i in range(0, len(groups), 64)]
        oracle.encoding("encoding every code point", theirs, directory, every_case, False)
        for skips in [False, True]:
            ids = [[rng.randrange(theirs.get_vocab_size()) if rng.random() < 0.6 else rng.randrange(260)
                    for _ in range(rng.randint(0, 30))] for _ in range(half // 4)]
            oracle.decoding("decoding ids", theirs, directory, ids, skips)
        if oracle.failures:
            print(f"{oracle.failures} checks failed; repeat with --seed {options.seed}", file=sys.stderr)
            sys.exit(1)


main()
