"""The cost of a row grows with its length, not with its square: one file of one row, and another eight times as long.

What is compared is the processor's time of the program, of which a busy machine changes little.
"""

import json
import resource
import subprocess

import pytest

TEXT = "the old king went to the sea "


def row(**fields):
    return "jsonl", json.dumps(fields)


def turns(count, *more):
    return [{"role": ["user", "assistant"][i % 2], "content": f"what is {i}"} for i in range(count // 20 * 2)] + list(more)


def answer(text):
    return {"role": "assistant", "content": text}


QUESTION = {"role": "user", "content": "what is it"}
#: Data of a kind whose one row has about `n` bytes: the file's ending and content.
ROWS = {
    "sft": {
        "turns": lambda n: row(conversations=turns(n)),
        "history": lambda n: row(q="hello", a="there", history=[[f"q{i}", f"a{i}"] for i in range(n // 10)]),
        "history of Python": lambda n: ("csv", 'q,a,history\nhello,there,"' + repr([[f"q{i}", f"a{i}"] for i in range(n // 10)]) + '"'),
        "parts": lambda n: row(messages=[{"role": "user", "content": [{"type": "text", "text": f"p{i}"} for i in range(n // 10)]}, answer("yes")]),
        "answer": lambda n: row(q="hello", a=TEXT * (n // 30)),
        "tools": lambda n: row(messages=[QUESTION, *[{"role": "tool", "content": f"s{i}"} for i in range(n // 10)], answer("yes")])},
    "dpo": {
        "turns": lambda n: row(prompt=turns(n, QUESTION), chosen=[answer("a")], rejected=[answer("b")]),
        "lists": lambda n: row(**{name: turns(n, QUESTION, answer(name)) for name in ["chosen", "rejected"]})},
    "pretrain": {
        "words": lambda n: row(text=TEXT * (n // 30)), "one letter": lambda n: row(text="a" * n),
        "spaces": lambda n: row(text=" " * n + "x"), "newlines": lambda n: row(text="\n" * n + "x"),
        "control tokens": lambda n: row(text="<s>" * (n // 3)), "half of them": lambda n: row(text="<" * n),
        "accents": lambda n: row(text="e" + "\u0301" * (n // 2)), "joiners": lambda n: row(text="\U0001f468\u200d" * (n // 7)),
        "halves of characters": lambda n: ("jsonl", '{"text": "' + "\\ud83d" * (n // 6) + '"}'),
        "keys": lambda n: row(text="hello you", **{f"k{i}": i for i in range(n // 10)}),
        "columns": lambda n: ("csv", ",".join(["text"] + [f"k{i}" for i in range(n // 10)]) + "\nhello you" + ",1" * (n // 10)),
        "lines in quotes": lambda n: ("csv", 'text\n"' + "a b\n" * (n // 4) + '"'),
        "not a number": lambda n: ("jsonl", '{"text": "abc", "x": [' + ",".join(["NaN"] * (n // 4)) + "]}"),
        "an array": lambda n: ("json", json.dumps([{"text": TEXT * (n // 30)}])), "Markdown": lambda n: ("md", TEXT * (n // 30))},
}


def seconds(binary, tokenizer, folder, kind, content):
    """The processor's time for the preparation of one file."""
    folder.mkdir()
    file = folder / f"a.{content[0]}"
    file.write_text(content[1] + "\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [binary, "data", kind, "--input", file, "--tokenizer", tokenizer, "--output", folder / "out", "--held-out", "0", "--threads", "1"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    # A row may be too long for the model; it was read and encoded.
    assert done.returncode == 0 or "none of the 1 rows is left" in done.stderr, done.stderr
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, rows in ROWS.items() for name in rows])
def test_a_longer_row_takes_proportionally_longer(binary, tokenizer_directory, tmp_path, kind, name):
    short, long = (seconds(binary, tokenizer_directory, tmp_path / str(size), kind, ROWS[kind][name](size)) for size in [200_000, 1_600_000])
    # The square would be 64 times; the start of the program is in both.
    assert long < 24 * max(short, 0.02), f"{short:.2f} s became {long:.2f} s"
