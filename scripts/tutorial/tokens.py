"""Tokens as a reader sees them: the vocabulary and merges of tokenizer.json, and the documents of prepared data."""

import json
import struct
from pathlib import Path


def byte_alphabet():
    """The printable character that GPT-2's tokenizer format writes for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}


LETTERS = byte_alphabet()
BYTES = {letter: byte for byte, letter in LETTERS.items()}


def readable(piece):
    """A token's text; ␣ for a space, ⏎ for a line's end, bytes of part of a character in hexadecimal."""
    if piece in ("<s>", "</s>", "<unk>"):
        return piece
    data = bytes(BYTES[letter] for letter in piece)
    try:
        return data.decode().replace(" ", "␣").replace("\n", "⏎")
    except UnicodeDecodeError:
        return data.hex(" ").upper()


class Vocabulary:
    def __init__(self, directory):
        model = json.loads((Path(directory) / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.ids = model["vocab"]
        self.pieces = {number: piece for piece, number in self.ids.items()}

    def text(self, token):
        return readable(self.pieces[token])

    def merge(self, word):
        """Applies merges to a word, the earliest learned first. A node is (piece, rank or None, children)."""
        nodes = [(LETTERS[byte], None, ()) for byte in word.encode()]
        while True:
            ranked = [
                (self.ranks[pair], index)
                for index, pair in enumerate((left[0], right[0]) for left, right in zip(nodes, nodes[1:]))
                if pair in self.ranks]
            if not ranked:
                return nodes
            rank, index = min(ranked)
            left, right = nodes[index:index + 2]
            nodes[index:index + 2] = [(left[0] + right[0], rank, (left, right))]


def read_documents(shard):
    """Token ids and, for each, whether it is trained on, of each document of a .tokens file.

    `Sources/Corpus/ShardFormat.swift` has the format.
    """
    data = Path(shard).read_bytes()
    width, _, has_mask = struct.unpack_from("<3I", data, 12)
    documents, tokens = struct.unpack_from("<2Q", data, 24)

    def padded(count):
        return (count + 63) // 64 * 64

    mask_start = 128 + padded(tokens * width)
    offsets_start = mask_start + (padded((tokens + 7) // 8) if has_mask else 0)
    ids = struct.unpack_from(f"<{tokens}{'H' if width == 2 else 'I'}", data, 128)
    offsets = struct.unpack_from(f"<{documents + 1}Q", data, offsets_start)
    trained = [not has_mask or data[mask_start + i // 8] >> i % 8 & 1 == 1 for i in range(tokens)]
    return [(ids[start:end], trained[start:end]) for start, end in zip(offsets, offsets[1:])]
