#!/usr/bin/env python3
"""The rivals of `minimind bench tokenizer`: tiktoken and `tokenizers` encode, rustbpe and `tokenizers` train.

    .venv-interop/bin/python scripts/peers/tokenizer_rates.py --tokenizer DIR --input train.jsonl

One thread each. All work on the documents of the input ({"text": …} a line) with the vocabulary and the split pattern of
DIR/tokenizer.json; tiktoken gets its merges as ranks. Times are medians over runs after one that is not counted. Prints one JSON object.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

import rustbpe  # noqa: E402
import tiktoken  # noqa: E402
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPECIALS = ["<unk>", "<s>", "</s>"]


def byte_alphabet():
    """Hugging Face's spelling of each byte, from the character back to the byte (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


def split_pattern(file):
    """The pattern of the file's Split, or GPT-2's, which ByteLevel has by itself."""
    steps = file["pre_tokenizer"].get("pretokenizers", [])
    return next((step["pattern"]["Regex"] for step in steps if step["type"] == "Split"), GPT2_PATTERN)


def tiktoken_encoding(file):
    """tiktoken with the vocabulary of a tokenizer.json: the rank of a token is its place among those not special."""
    alphabet = byte_alphabet()
    vocabulary = file["model"]["vocab"]
    ordered = sorted((id, token) for token, id in vocabulary.items() if token not in SPECIALS)
    ranks = {bytes(alphabet[character] for character in token): rank for rank, (_, token) in enumerate(ordered)}
    return tiktoken.Encoding("minimind", pat_str=split_pattern(file), mergeable_ranks=ranks, special_tokens={})


def train_tokenizers(documents, size, pattern):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False) if pattern == GPT2_PATTERN else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def train_rustbpe(documents, size, pattern):
    rustbpe.Tokenizer().train_from_iterator(iter(documents), size - len(SPECIALS), pattern=pattern)


def median_seconds(runs, body):
    body()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()

    documents = [json.loads(line)["text"] for line in arguments.input.open(encoding="utf-8")]
    size = sum(len(text.encode()) for text in documents)
    path = arguments.tokenizer / "tokenizer.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    pattern = split_pattern(file)
    fast, reference = tiktoken_encoding(file), Tokenizer.from_file(str(path))
    vocabulary_size = reference.get_vocab_size()
    tokens = [fast.encode_ordinary(text) for text in documents]
    expected = reference.encode_batch(documents, add_special_tokens=False)
    differing = sum(ours != [id - len(SPECIALS) for id in theirs.ids] for ours, theirs in zip(tokens, expected))
    if differing:
        raise SystemExit(f"tokenizer_rates.py: tiktoken disagrees on {differing} documents; it would not do the same work.")
    print(json.dumps({
        "bytes": size,
        "tokens": sum(map(len, tokens)),
        "tiktoken_encode_bytes_per_second": size / median_seconds(
            arguments.runs, lambda: [fast.encode_ordinary(text) for text in documents]),
        "tokenizers_encode_bytes_per_second": size / median_seconds(
            arguments.runs, lambda: [reference.encode(text, add_special_tokens=False) for text in documents]),
        "rustbpe_train_seconds": median_seconds(arguments.runs, lambda: train_rustbpe(documents, vocabulary_size, pattern)),
        "tokenizers_train_seconds": median_seconds(arguments.runs, lambda: train_tokenizers(documents, vocabulary_size, pattern)),
        "versions": {name: version(name) for name in ("tiktoken", "tokenizers", "rustbpe")},
    }))


if __name__ == "__main__":
    main()
