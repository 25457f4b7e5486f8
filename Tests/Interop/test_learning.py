"""`minimind grpo` and `ppo` as processes that are killed among their own answers, and with tools. By several processes: test_processes.py.

What a run learns, and that it goes on to the bit where it was asked to stop, is tested in
Tests/TrainingTests/PolicyRunTests.swift and ValueRunTests.swift; the losses are trl's in test_grpo.py and test_ppo.py.
"""

import json
import os
import signal
import sys

import pytest
from conftest import PATIENCE, wait_until

from test_training import FEW, data, losses, start, steps, weights  # noqa: F401 (fixtures)

FEW_ANSWERS = ["--micro-batch-tokens", 256, "--prompts-per-step", 4, "--answers", 4, "--answer-tokens", 24,
               "--learning-rate", 1e-3, "--precision", "fp32"]


@pytest.fixture(scope="module")
def prompts(minimind, data):  # noqa: F811
    """The folder of data with a model that answers (`chat`) and questions to which an answer is right that is about home."""
    minimind("pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", data / "base", *FEW,
             "--learning-rate", 0.01, "--optimizer", "adamw", "--epochs", 4)
    minimind("sft", "--from", data / "base", "--data", data / "sft", "--output", data / "chat", *FEW, "--learning-rate",
             0.01, "--epochs", 2)
    rows = [{"messages": [{"role": "user", "content": f"who is {number}?"}],
             "check": {"kind": "pattern", "pattern": "at home"}} for number in range(60)]
    (data / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    minimind("data", "grpo", "--input", data / "tasks.jsonl", "--tokenizer", data / "tokenizer", "--output", data / "grpo")
    return data


def own_answers(stage, prompts, output, *options):
    return [stage, "--from", prompts / "chat", "--data", prompts / "grpo", "--output", output, *FEW_ANSWERS, *options]


@pytest.mark.parametrize("stage, passes", [("grpo", 1), ("grpo", 2), ("ppo", 2)])
def test_killed_among_its_answers(minimind, start, prompts, tmp_path, stage, passes):  # noqa: F811
    """kill -9 while the answers of a step are written or scored: the run makes them again, and ends with the same bits."""
    counter = tmp_path / "calls"
    program = tmp_path / "reward.py"
    # At some calls it kills the run that waits for it, which has then written the answers and not learned from them.
    program.write_text(f"""
import json, os, signal, sys
lines = sys.stdin.read().splitlines()
counter = {str(counter)!r}
calls = int(open(counter).read()) + 1 if os.path.exists(counter) else 1
open(counter, "w").write(str(calls))
if os.environ.get("KILLS") and calls in (4, 8):
    os.kill(int(open({str(tmp_path / "run.pid")!r}).read()), signal.SIGKILL)
for line in lines:
    print(1.0 if "Anna" in json.loads(line)["answer"] else 0.0)
""")
    options = ["--reward", "check", "--reward-command", f"{sys.executable} {program}", "--steps", 12, "--passes", passes,
               "--checkpoint-interval", 2, "--eval-interval", 6]
    minimind(*own_answers(stage, prompts, tmp_path / "whole", *options), "--threads", 1)
    counter.unlink()

    run = tmp_path / "killed"
    arguments = [*own_answers(stage, prompts, run, *options), "--threads", 1]
    kills = 0
    os.environ["KILLS"] = "1"
    try:
        while True:
            process = start(*arguments)
            (tmp_path / "run.pid").write_text(str(process.pid))
            # The third kill comes while answers are written: a step is done, and the next one begins with them.
            if kills == 2:
                done = max(steps(run), default=0)
                wait_until(lambda: max(steps(run), default=0) > done or process.poll() is not None, "no progress")
                process.kill()
            process.communicate(timeout=PATIENCE)
            if process.returncode != -signal.SIGKILL:
                break
            kills += 1
            arguments = [stage, "--resume", run]
    finally:
        del os.environ["KILLS"]
    assert process.returncode == 0 and kills >= 2
    assert weights(run) == weights(tmp_path / "whole")
    assert losses(run) == losses(tmp_path / "whole")


def test_tools_are_run_between_answers(minimind, tmp_path):
    """Tasks with calls of tools, from the rows over conversations and prompts to a run and an evaluation."""
    minimind("data", "tasks", "--tasks", "errands", "--count", 60, "--held-out-count", 20, "--output", tmp_path / "tasks")
    rows = [json.loads(line) for line in (tmp_path / "tasks/train.jsonl").read_text().splitlines()]
    assert all(row["turns"] == 4 and row["messages"][-2]["role"] == "tool" for row in rows)
    # Whole rows, so that the descriptions of the tools are few tokens.
    (tmp_path / "text.txt").write_text("\n".join(map(json.dumps, rows)))
    minimind("tokenizer", "train", "--input", tmp_path / "text.txt", "--output", tmp_path / "tokenizer", "--vocab-size", 640,
             "--template", "minimind-3", "--split", "qwen2")
    minimind("data", "pretrain", "--input", tmp_path / "text.txt", "--tokenizer", tmp_path / "tokenizer", "--output",
             tmp_path / "text")
    for kind in ("sft", "grpo"):
        minimind("data", kind, "--input", tmp_path / "tasks/train.jsonl", "--tokenizer", tmp_path / "tokenizer", "--output",
                 tmp_path / kind, "--max-tokens", 1024)
    (tmp_path / "model.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 640, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": True}))
    options = ["--micro-batch-tokens", 2048, "--threads", 1]
    minimind("pretrain", "--model", tmp_path / "model.json", "--data", tmp_path / "text", "--output", tmp_path / "base",
             "--steps", 2, *options)
    # A few examples by heart, so that it calls tools at all.
    minimind("sft", "--from", tmp_path / "base", "--data", tmp_path / "sft", "--output", tmp_path / "chat", "--sequence-length",
             1024, "--learning-rate", 0.01, "--epochs", 20, *options)
    evaluation = json.loads(minimind(
        "eval", "tasks", "--model", tmp_path / "chat", "--data", tmp_path / "tasks/held-out.jsonl", "--max-tokens", 400, "--json",
        "--answers", tmp_path / "answers.jsonl", "--threads", 1).stdout)
    assert evaluation["total"] == 20
    texts = [json.loads(line)["text"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert any('"result":' in text or '"error":' in text for text in texts), texts[0]
    minimind("grpo", "--from", tmp_path / "chat", "--data", tmp_path / "grpo", "--output", tmp_path / "run", "--steps", 2,
             "--prompts-per-step", 4, "--answers", 4, "--answer-tokens", 400, "--sequence-length", 1024, *options)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    # What the tools said has no log-probability of the model's, and does not count.
    assert all(row["train/sampling/sampling_logp_difference/mean"] < 0.1 for row in rows if "train/loss" in row)
    minimind("tokenizer", "train", "--input", tmp_path / "text.txt", "--output", tmp_path / "v1", "--vocab-size", 300)
    refused = minimind("data", "grpo", "--input", tmp_path / "tasks/train.jsonl", "--tokenizer", tmp_path / "v1", "--output",
                       tmp_path / "none", check=False)
    assert refused.returncode == 1 and "has no place for tools" in refused.stderr, refused.stderr
