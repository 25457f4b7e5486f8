"""Reward models against `transformers` and `trl`: scores, loss and the gradient of every weight, in fp32."""

import json

import pytest

pytestmark = pytest.mark.heavy

from test_dpo import compare, examples, models, pairs  # noqa: E402, F401
import datasets  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from test_preference_losses import padded, settings  # noqa: E402
from test_transformers import random_model  # noqa: E402
import trl  # noqa: E402


@pytest.fixture(scope="module")
def reward(minimind, pairs, models, tmp_path_factory):
    """A reward model after two steps, and what `eval reward` says of the pairs."""
    folder = tmp_path_factory.mktemp("reward")
    minimind("reward", "--from", models[0], "--data", pairs[0], "--output", folder / "run", "--steps", 2, "--precision",
             "fp32", "--learning-rate", 0.01, "--threads", 2)
    return folder / "run"


def batch(tokenizer, rows):
    """Chosen answers, then rejected ones, each with its prompt."""
    ids = [row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids") for row in examples(tokenizer, rows)]
    return {"input_ids": padded(ids, 0), "attention_mask": padded([[1] * len(row) for row in ids], 0)}


def load_scorer(path):
    return transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32)


def test_scores_are_those_of_transformers(minimind, pairs, models, reward, tmp_path):
    _, rows = pairs
    directory = reward / "model"
    model, tokenizer = load_scorer(directory), transformers.AutoTokenizer.from_pretrained(directory)
    assert model.config.num_labels == 1 and "ForSequenceClassification" in type(model).__name__
    with torch.no_grad():
        theirs = model(**batch(tokenizer, rows)).logits[:, 0].tolist()
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    report = json.loads(minimind(
        "eval", "reward", "--model", reward, "--input", tmp_path / "rows.json", "--output", tmp_path / "scores.jsonl",
        "--precision", "fp32", "--json").stdout)
    ours = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["chosen"] for row in ours] + [row["rejected"] for row in ours] == pytest.approx(theirs, abs=1e-4)
    assert report["pairs"] == len(rows) and report["mean_score"] == pytest.approx(sum(theirs) / len(theirs), abs=1e-4)
    # A conversation has a score of its own, the same one.
    messages = [{"messages": row["prompt"] + row["chosen"]} for row in rows]
    (tmp_path / "single.json").write_text(json.dumps(messages))
    minimind("eval", "reward", "--model", reward, "--input", tmp_path / "single.json", "--output", tmp_path / "single.jsonl",
             "--precision", "fp32")
    single = [json.loads(line)["score"] for line in (tmp_path / "single.jsonl").read_text().splitlines()]
    assert single == pytest.approx([row["chosen"] for row in ours], abs=1e-6)


def test_loss_and_gradients_are_those_of_trl(probe, pairs, reward, tmp_path):
    data, rows = pairs
    directory = reward / "model"
    model, tokenizer = load_scorer(directory), transformers.AutoTokenizer.from_pretrained(directory)
    # Else trl pads with the token that ends an answer, and transformers looks for the last token that is no padding.
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    trainer = trl.RewardTrainer(
        model, processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        args=settings(trl.RewardConfig, tmp_path))
    loss = trainer.compute_loss(model, batch(tokenizer, rows))
    loss.backward()
    metrics = trainer._metrics["eval"] | trainer._metrics["train"]
    probe("reward", directory, data, tmp_path / "ours.safetensors")
    compare(
        tmp_path / "ours.safetensors", loss.item(),
        {name: metrics[name][0] for name in ("accuracy", "margin", "mean_reward")},
        {name: weight.grad.numpy() for name, weight in model.named_parameters()})


def test_a_scorer_of_transformers_is_read_and_other_models_keep_their_places(minimind, pairs, models, reward, tmp_path):
    directory = reward / "model"
    load_scorer(directory).save_pretrained(tmp_path / "saved")
    transformers.AutoTokenizer.from_pretrained(directory).save_pretrained(tmp_path / "saved")
    before = safetensors.load_file(directory / "model.safetensors")
    minimind("reward", "--from", tmp_path / "saved", "--data", pairs[0], "--output", tmp_path / "run", "--steps", 1,
             "--learning-rate", 1e-12, "--precision", "fp32")
    after = safetensors.load_file(tmp_path / "run/model/model.safetensors")
    assert before.keys() == after.keys()
    assert all(abs(before[name] - after[name]).max() < 1e-6 for name in before)
    refused = minimind("generate", "--model", directory, "--prompt", "a", check=False)
    assert refused.returncode != 0 and "is a reward model" in refused.stderr
    refused = minimind("eval", "reward", "--model", models[0], "--input", "x", check=False)
    assert refused.returncode != 0 and "has no score" in refused.stderr
    uses = json.loads(minimind("info", directory, "--json").stdout)["uses"]
    assert {"eval reward", "reward", "convert --format hf"} <= set(uses["works"])
    assert {"generate", "serve", "chat", "sft", "grpo", "convert --format gguf"} <= uses["fails"].keys()
