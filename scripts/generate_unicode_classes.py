#!/usr/bin/env python3
"""Writes Sources/Tokenization/UnicodeClassRanges.swift: the letters, numbers and spaces of the split pattern.

Usage: generate_unicode_classes.py [OUTPUT.swift]      (needs the Python package `tokenizers` 0.23)

The regular expression engine inside `tokenizers` carries its own Unicode version, so the classes are
read off the package itself, one code point at a time, and not from any Unicode data file.
"""
import pathlib
import sys

import tokenizers
from tokenizers import pre_tokenizers

split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str


def is_joined(text):
    return len(split(text)) == 1


def class_of(character):
    """A letter continues a run of letters, a number one of numbers, a space one of spaces; nothing is two of them."""
    found = [name for name, probe in (("letters", "a"), ("numbers", "1"), ("spaces", "\t"), ("other", "!"))
             if is_joined(probe + character)]
    assert len(found) == 1, (hex(ord(character)), found)
    return found[0]


def ranges():
    table = {"letters": [], "numbers": [], "spaces": [], "other": []}
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF:
            continue
        spans = table[class_of(chr(code))]
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return table


def swift_array(name, summary, spans):
    numbers = [f"0x{value:X}" for span in spans for value in span]
    lines = [", ".join(numbers[i:i + 12]) for i in range(0, len(numbers), 12)]
    body = ",\n    ".join(lines)
    return f"  /// {summary}\n  static let {name}: [UInt32] = [\n    {body},\n  ]\n"


def main():
    default = pathlib.Path(__file__).parent.parent / "Sources/Tokenization/UnicodeClassRanges.swift"
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    table = ranges()
    output.write_text(
        f"// Made by scripts/generate_unicode_classes.py from `tokenizers` {tokenizers.__version__}; do not edit.\n\n"
        "/// Code points of each class of the split pattern, as pairs of first and last, ascending.\n"
        "enum UnicodeClassRanges {\n"
        + swift_array("letters", "`\\p{L}`", table["letters"]) + "\n"
        + swift_array("numbers", "`\\p{N}`", table["numbers"]) + "\n"
        + swift_array("spaces", "`\\s`", table["spaces"])
        + "}\n")
    print({name: len(spans) for name, spans in table.items()})


main()
