"""SimPO, ORPO and KTO against `trl`: loss, metrics and the gradient of every weight, in fp32."""

import json
import math

import pytest

pytestmark = pytest.mark.heavy

from test_dpo import compare, examples, models, pairs  # noqa: E402, F401
import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from test_transformers import load  # noqa: E402
from trl.experimental.cpo import CPOConfig, CPOTrainer  # noqa: E402
from trl.experimental.orpo import ORPOConfig, ORPOTrainer  # noqa: E402
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference  # noqa: E402

PAIR_METRICS = [
    "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"]
ANSWERS = [
    ("What is a token?", "A piece of text with a number.", True), ("Name a colour.", "Seven, or perhaps eight.", False),
    ("世界上最高的山是什么？", "珠穆朗玛峰。", True), ("2 + 2", "5", False), ("3 + 3", "6", True)]


def settings(kind, folder, **values):
    return kind(
        output_dir=folder, bf16=False, use_cpu=True, report_to="none", gradient_checkpointing=False, disable_tqdm=True,
        **values)


def padded(rows, fill):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=fill)


def pair_batch(tokenizer, rows):
    """Pairs as trl's collator gives them: prompt and answer, of which the prompt has no label."""
    batch = {}
    for side in ("chosen", "rejected"):
        prompts, answers = zip(*((row["prompt_ids"], row[side + "_ids"]) for row in examples(tokenizer, rows)))
        ids = [prompt + answer for prompt, answer in zip(prompts, answers)]
        batch[side + "_input_ids"] = padded(ids, 0)
        batch[side + "_attention_mask"] = padded([[1] * len(row) for row in ids], 0)
        batch[side + "_labels"] = padded([[-100] * len(p) + a for p, a in zip(prompts, answers)], -100)
    return batch


def gradients(model, loss):
    loss.backward()
    return {name: weight.grad.numpy() for name, weight in model.named_parameters()}


def test_simpo_is_that_of_trl(probe, pairs, models, tmp_path):
    data, rows = pairs
    beta, gamma = 2.0, 0.9
    tokenizer = transformers.AutoTokenizer.from_pretrained(models[0])
    model = load(models[0])
    trainer = CPOTrainer(
        model, processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        args=settings(CPOConfig, tmp_path, loss_type="simpo", cpo_alpha=0.0, simpo_gamma=gamma, beta=beta))
    loss, metrics = trainer.get_batch_loss_metrics(model, pair_batch(tokenizer, rows))
    probe("preferences", *models, data, "simpo", beta, "mean", tmp_path / "ours.safetensors", gamma)
    compare(
        tmp_path / "ours.safetensors", loss.item(), {name: metrics[name] for name in PAIR_METRICS},
        gradients(model, loss))


def test_orpo_is_that_of_trl(probe, pairs, models, tmp_path):
    """The cross-entropy is the paper's, of the answer and by pairs; trl's is of the prompt, too, and by tokens."""
    data, rows = pairs
    beta = 0.4
    tokenizer = transformers.AutoTokenizer.from_pretrained(models[0])
    model = load(models[0])
    trainer = ORPOTrainer(
        model, processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        args=settings(ORPOConfig, tmp_path, beta=beta, padding_value=0))
    batch = pair_batch(tokenizer, rows)
    _, metrics = trainer.get_batch_loss_metrics(model, batch)
    chosen, rejected, *_ = trainer.concatenated_forward(model, batch)
    ratios = trainer.odds_ratio_loss(chosen, rejected)[0]
    loss = (-chosen - ratios).mean()
    probe("preferences", *models, data, "orpo", beta, "mean", tmp_path / "ours.safetensors")
    names = PAIR_METRICS + ["log_odds_chosen", "log_odds_ratio"]
    compare(
        tmp_path / "ours.safetensors", loss.item(), {name: metrics[name] for name in names}, gradients(model, loss))


@pytest.fixture(scope="module")
def judged(minimind, tokenizer_directory, tmp_path_factory):
    """Prepared answers with labels, and the rows that they come from."""
    folder = tmp_path_factory.mktemp("judged")
    rows = [{
        "prompt": [{"role": "user", "content": question}], "completion": [{"role": "assistant", "content": answer}],
        "label": label} for question, answer, label in ANSWERS]
    (folder / "rows.json").write_text(json.dumps(rows))
    minimind("data", "kto", "--input", folder / "rows.json", "--tokenizer", tokenizer_directory, "--held-out", 0,
             "--output", folder / "data")
    return folder / "data", rows


def kto_batch(tokenizer, rows):
    found = list(examples(tokenizer, [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": row["completion"]} for row in rows]))
    answers = [row["chosen_ids"] for row in found]
    return DataCollatorForUnpairedPreference(pad_token_id=0)([
        {"prompt_ids": example["prompt_ids"], "completion_ids": answer, "KL_completion_ids": other, "label": row["label"]}
        for example, answer, other, row in zip(found, answers, answers[-1:] + answers[:-1], rows)])


def their_kto(folder, model_directory, reference_directory, rows, **values):
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory)
    model = load(model_directory)
    trainer = trl.KTOTrainer(
        model, load(reference_directory), processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        args=settings(trl.KTOConfig, folder, **values))
    loss = trainer.compute_loss(model, kto_batch(tokenizer, rows))
    metrics = trainer._metrics["eval"] | trainer._metrics["train"]
    names = ["kl", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"]
    return loss.item(), {name: metrics[name][0] for name in names}, gradients(model, loss)


@pytest.mark.parametrize("swapped", [False, True])
def test_kto_is_that_of_trl(probe, judged, models, tmp_path, swapped):
    """Also with model and reference exchanged, of which one pair has a KL estimate above 0."""
    data, rows = judged
    model, reference = reversed(models) if swapped else models
    loss, metrics, theirs = their_kto(
        tmp_path, model, reference, rows, beta=0.3, desirable_weight=1.3, undesirable_weight=0.7)
    probe("unpaired-preferences", model, reference, data, 0.3, 1.3, 0.7, tmp_path / "ours.safetensors")
    compare(tmp_path / "ours.safetensors", loss, metrics, theirs)


def test_a_first_kto_step_reports_what_trl_reports(minimind, judged, models, tmp_path):
    """Against the model itself the loss is a half, and yet there is a gradient."""
    data, rows = judged
    minimind("kto", "--from", models[0], "--data", data, "--output", tmp_path / "run", "--steps", 1, "--precision", "fp32",
             "--beta", 0.2, "--threads", 2)
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    loss, metrics, theirs = their_kto(tmp_path / "theirs", models[0], models[0], rows, beta=0.2)
    assert line["train/loss"] == pytest.approx(loss, rel=1e-4) == pytest.approx(0.5, rel=1e-4)
    norm = math.sqrt(sum(float((gradient.astype(float) ** 2).sum()) for gradient in theirs.values()))
    assert line["train/grad_norm"] == pytest.approx(norm, rel=1e-4)
    for name in ("logps/chosen", "logps/rejected"):
        assert line["train/" + name] == pytest.approx(metrics[name], rel=1e-4)
    assert "train/rewards/margins" in line and "train/kl" in line
