"""DPO against `trl`: the loss of the same pairs, what it says of them, and the gradient of every weight, in fp32."""

import json
import math
import os
import shutil

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import numpy  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from test_transformers import load, random_model  # noqa: E402
from trl.trainer.dpo_trainer import DataCollatorForPreference  # noqa: E402

METRICS = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"]
#: trl's name of each of our losses; it knows IPO by its normalised form only.
LOSSES = {
    ("sigmoid", "sum"): "sigmoid", ("sigmoid", "mean"): "sigmoid_norm", ("ipo", "mean"): "ipo", ("hinge", "sum"): "hinge",
    ("robust", "sum"): "robust"}
SMOOTHING = 0.2
PAIRS = [
    ("What is a token?", "A piece of text with a number.", "No idea."),
    ("世界上最高的山是什么？", "珠穆朗玛峰。", "我不知道，也许是黄山，也许不是。"),
    ("Name a colour.", "Blue", "The loss is the cross-entropy of the next token, and so on, and so on."),
    ("2 + 2", "4", "5"),
]


@pytest.fixture(scope="module")
def pairs(minimind, tokenizer_directory, tmp_path_factory):
    """Prepared pairs, and the rows that they come from."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{
        "prompt": [{"role": "user", "content": question}], "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}]} for question, chosen, rejected in PAIRS]
    (folder / "rows.json").write_text(json.dumps(rows))
    minimind("data", "dpo", "--input", folder / "rows.json", "--tokenizer", tokenizer_directory, "--held-out", 0, "--output",
             folder / "data")
    return folder / "data", rows


@pytest.fixture(scope="module")
def models(tokenizer_directory, tmp_path_factory):
    """A model and its reference, whose weights differ a little."""
    folder = tmp_path_factory.mktemp("models")
    model = random_model("tied")
    for name in ("model", "reference"):
        shutil.copytree(tokenizer_directory, folder / name)
    model.save_pretrained(folder / "model")
    torch.manual_seed(6)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
    model.save_pretrained(folder / "reference")
    return folder / "model", folder / "reference"


def examples(tokenizer, rows):
    """The ids that trl compares: an answer is its text and the token that ends it; the template's last line end is none of it."""
    def ids(messages):
        return tokenizer(tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n"), add_special_tokens=False).input_ids

    for row in rows:
        prompt = tokenizer(tokenizer.apply_chat_template(row["prompt"], tokenize=False), add_special_tokens=False).input_ids
        answers = {key: ids(row["prompt"] + row[key])[len(prompt):] for key in ("chosen", "rejected")}
        yield {"prompt_ids": prompt} | {key + "_ids": value for key, value in answers.items()}


def their_results(folder, model_directory, reference_directory, rows, loss_type, beta):
    """trl's loss, its metrics, and the gradients that PyTorch finds."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory)
    model = load(model_directory)
    trainer = trl.DPOTrainer(
        model, load(reference_directory), processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        args=trl.DPOConfig(
            output_dir=folder, loss_type=loss_type, beta=beta, label_smoothing=SMOOTHING, bf16=False, use_cpu=True, report_to="none",
            gradient_checkpointing=False, disable_tqdm=True))
    batch = DataCollatorForPreference(pad_token_id=0)(list(examples(tokenizer, rows)))
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    metrics = trainer._metrics["eval"] | trainer._metrics["train"]
    return loss.item(), {name: metrics[name][0] for name in METRICS}, {
        name: weight.grad.numpy() for name, weight in model.named_parameters()}


def compare(path, loss, metrics, gradients):
    """Checks what interop-probe has written: the loss, the metrics by their names, the gradients by those of the weights."""
    ours = safetensors.load_file(path)
    assert ours["loss"][0] == pytest.approx(loss, rel=1e-4)
    for name, value in metrics.items():
        assert ours[name][0] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    for name, theirs in gradients.items():
        error = numpy.linalg.norm(ours[name] - theirs) / numpy.linalg.norm(theirs)
        assert error < 1e-4, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("shape, normalization", LOSSES)
def test_loss_metrics_and_gradients_are_those_of_trl(probe, pairs, models, tmp_path, shape, normalization):
    data, rows = pairs
    beta = 0.3
    loss, metrics, gradients = their_results(tmp_path, *models, rows, LOSSES[shape, normalization], beta)
    probe("preferences", *models, data, shape, beta, normalization, tmp_path / "ours.safetensors", SMOOTHING)
    compare(tmp_path / "ours.safetensors", loss, metrics, gradients)


def test_a_first_step_reports_what_trl_reports(minimind, pairs, models, tmp_path):
    """Against the model itself the loss is log 2, and yet there is a gradient."""
    data, rows = pairs
    minimind("dpo", "--from", models[0], "--data", data, "--output", tmp_path / "run", "--steps", 1, "--precision", "fp32",
             "--beta", 0.2, "--threads", 2)
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    loss, metrics, gradients = their_results(tmp_path / "theirs", models[0], models[0], rows, "sigmoid", 0.2)
    assert line["train/loss"] == pytest.approx(loss, rel=1e-4) == pytest.approx(math.log(2), rel=1e-4)
    norm = math.sqrt(sum(float((gradient.astype(float) ** 2).sum()) for gradient in gradients.values()))
    assert line["train/grad_norm"] == pytest.approx(norm, rel=1e-4)
    for name in ("logps/chosen", "logps/rejected"):
        assert line["train/" + name] == pytest.approx(metrics[name], rel=1e-4)
