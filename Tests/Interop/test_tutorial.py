"""The tutorial's commands, in order, on a small text and with few steps; and its plain model against the program's."""

import json
import os
import subprocess
import sys

import numpy

from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts/tutorial"))


def test_the_commands_of_the_tutorial(binary, tmp_path):
    took = subprocess.run(
        [sys.executable, REPOSITORY / "scripts/tutorial/run.py", "--directory", tmp_path], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "MINIMIND": str(binary)})
    assert took.returncode == 0, took.stdout

    # The model that they made, read by the twin in NumPy: the same loss on the same text.
    from plain_model import PlainModel

    text = "The king said unto them, Go ye into the city.\n"
    (tmp_path / "line.txt").write_text(text)

    def minimind(*arguments, text=None):
        return json.loads(subprocess.run([binary, *arguments], cwd=tmp_path, input=text, text=True, stdout=subprocess.PIPE, check=True).stdout)

    ids = minimind("tokenizer", "encode", "--tokenizer", "my-tokenizer", "--json", text=text)
    losses = PlainModel(tmp_path / "my-run").losses(numpy.array([1, *ids, 2]))
    measured = minimind("eval", "perplexity", "--model", "my-run", "--input", "line.txt", "--precision", "fp32", "--json")
    assert abs(losses.mean() - measured["loss"]) < 1e-4, (losses, measured)
