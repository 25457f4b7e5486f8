"""`minimind generate --input`: many answers at once, in order, and none lost or doubled by a kill."""

import json
import signal
import subprocess

import pytest
from conftest import wait_until
from random_model import make_model
from test_generate import tokenizer  # noqa: F401


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_model(tmp_path_factory.mktemp("model") / "model", tokenizer, scale=0.15)


def questions(count):
    shapes = [
        lambda n: {"prompt": f"question {n}"}, lambda n: {"q": f"question {n}", "a": "an old answer"},
        lambda n: {"messages": [{"role": "user", "content": f"question {n}"}]},
        lambda n: {"conversations": [
            {"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}, {"from": "human", "value": f"question {n}"},
            {"from": "gpt", "value": "old"}]}]
    return [shapes[number % 4](number) for number in range(count)]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_answers_come_in_order_and_are_rows_for_fine_tuning(minimind, model, tokenizer, tmp_path):
    source, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    rows = questions(40)
    source.write_text("\n".join([*map(json.dumps, rows[:20]), '{"broken"', *map(json.dumps, rows[20:])]))
    arguments = ["generate", "--model", model, "--input", source, "--max-tokens", 12, "--temperature", 1, "--parallel", 7]
    completed = minimind(*arguments, "--output", answers)
    assert "40 answers" in completed.stderr and "1 broken row" in completed.stderr and completed.stdout == ""
    found = lines(answers)
    asked = [next(m["content"] for m in reversed(row["messages"]) if m["role"] == "user") for row in found]
    assert asked == [f"question {number}" for number in range(40)]
    assert all(row["messages"][-1]["role"] == "assistant" for row in found)
    assert [m["content"] for m in found[3]["messages"]][:3] == ["hi", "ho", "question 3"]
    assert {row["finish_reason"] for row in found} <= {"stop", "length"}
    assert not list(tmp_path.glob("*.partial*"))
    # One at a time they are the same to the byte.
    minimind(*arguments[:-1], 1, "--output", tmp_path / "single.jsonl")
    assert (tmp_path / "single.jsonl").read_bytes() == answers.read_bytes()
    prepared = minimind("data", "sft", "--input", answers, "--tokenizer", tokenizer, "--output", tmp_path / "data")
    assert "40 read" in prepared.stdout


def test_a_killed_run_goes_on_without_loss_or_doubles(binary, minimind, model, tmp_path):
    source = tmp_path / "questions.jsonl"
    source.write_text("\n".join(map(json.dumps, questions(300))))
    arguments = ["generate", "--model", model, "--input", source, "--max-tokens", 60, "--temperature", 1, "--seed", 3,
                 "--parallel", 4]
    minimind(*arguments, "--output", tmp_path / "whole.jsonl")
    answers, partial = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.partial"
    command = [binary, *map(str, arguments), "--output", str(answers)]
    for kind in (signal.SIGKILL, signal.SIGINT):
        before = partial.read_bytes().count(b"\n") if partial.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") > before, "no answers came", process)
        process.send_signal(kind)
        _, text = process.communicate()
        assert not answers.exists() and (process.returncode == 130 if kind == signal.SIGINT else process.returncode < 0)
        if kind == signal.SIGINT:
            assert "going on after" in text and "Go on with the same command" in text
        # A line that was cut in the middle.
        with partial.open("ab") as file:
            file.write(b'{"messages": [{"role"')
    other = minimind(*arguments[:-3], 4, "--parallel", 4, "--output", answers, check=False)
    assert other.returncode != 0 and "holds answers of another command" in other.stderr
    minimind(*arguments, "--output", answers)
    assert answers.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    again = minimind(*arguments, "--output", answers, check=False)
    assert again.returncode != 0 and "is there already" in again.stderr


@pytest.mark.parametrize("arguments, message", [
    (["--output", "x"], "--output is for the questions of --input"), (["--input", "q.jsonl"], "--input needs --output"),
    (["--input", "q.jsonl", "--output", "x", "--prompt", "a"], "--prompt is for one text"),
    (["--input", "empty.jsonl", "--output", "x"], "empty")])
def test_what_does_not_belong_together_is_refused(minimind, model, tmp_path, arguments, message):
    (tmp_path / "q.jsonl").write_text('{"prompt": "hi"}')
    (tmp_path / "empty.jsonl").write_text("\n")
    paths = [tmp_path / text if text.endswith((".jsonl", "x")) else text for text in arguments]
    completed = minimind("generate", "--model", model, *paths, check=False)
    assert completed.returncode != 0 and message in completed.stderr
    assert not (tmp_path / "x").exists()
