#!/usr/bin/env python3
"""Bits per byte that simple models reach on held-out text, having read the same training text as a language model.

    scripts/byte_baseline.py --train demo/text/train.jsonl --heldout demo/text/heldout.jsonl [--json]

Prints two figures. `order-3 counts`: the distribution of a byte after the three before it, counted in the training text
and smoothed by Witten and Bell's interpolation with the shorter contexts down to a uniform one. Documents are scored one
by one, each from its first byte. `xz -9e`: the bytes that the held-out text adds to the compressed training text.
The text alone is scored: nobody pays for the end of a document. Standard library only.
"""

import argparse
import json
import lzma
import math
import sys
from collections import Counter

ORDER = 3
#: Stands before a document as its context. No text holds this byte.
START = b"\0" * ORDER


class CountModel:
    """Counts of every run of up to ORDER + 1 bytes, read as: the last byte came after the others."""

    def __init__(self, documents):
        self.counts = [Counter() for _ in range(ORDER + 1)]
        for document in documents:
            data = START + document
            for order, counts in enumerate(self.counts):
                counts.update(data[end - order:end + 1] for end in range(ORDER, len(data)))
        self.totals = [Counter() for _ in self.counts]
        self.kinds = [Counter() for _ in self.counts]
        for counts, totals, kinds in zip(self.counts, self.totals, self.kinds):
            for run, count in counts.items():
                totals[run[:-1]] += count
                kinds[run[:-1]] += 1

    def probability(self, context, run_end):
        """P(byte | context) = (count + kinds · P(byte | shorter context)) / (total + kinds), from uniform upwards."""
        probability = 1 / 256
        for order in range(ORDER + 1):
            before = context[ORDER - order:]
            total, kinds = self.totals[order][before], self.kinds[order][before]
            if total:
                probability = (self.counts[order][before + run_end] + kinds * probability) / (total + kinds)
        return probability

    def bits(self, document):
        data = START + document
        return -sum(math.log2(self.probability(data[end - ORDER:end], data[end:end + 1])) for end in range(ORDER, len(data)))


def xz_bits(training, held_out):
    """What `xz -9e` needs for the held-out text when it has just packed the training text."""

    def size(data):
        return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))

    joined_training = b"\n".join(training)
    return 8 * (size(joined_training + b"\n" + b"\n".join(held_out)) - size(joined_training))


def read_documents(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"].encode() for line in file if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--heldout", required=True)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    try:
        training, held_out = read_documents(arguments.train), read_documents(arguments.heldout)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"byte_baseline.py: {error}")
    size = sum(map(len, held_out))
    if not training or not size:
        sys.exit("byte_baseline.py: both files must hold text.")
    model = CountModel(training)
    result = {
        "heldout_bytes": size,
        "order3_bits_per_byte": sum(map(model.bits, held_out)) / size,
        "xz_bits_per_byte": xz_bits(training, held_out) / size,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"order-3 counts  {result['order3_bits_per_byte']:.3f} bits/byte")
        print(f"xz -9e          {result['xz_bits_per_byte']:.3f} bits/byte")


if __name__ == "__main__":
    main()
