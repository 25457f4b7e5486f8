"""GRPO and its relatives against `trl`: loss, what is reported, and the gradient of every weight, in fp32, on the same
answers, advantages and log-probabilities."""

import json
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

#: Our name, trl's name and level of the ratio, both bounds.
LOSSES = {
    "grpo": ("grpo", "token", 0.2, 0.2),
    "dapo": ("dapo", "token", 0.2, 0.28),
    "dr-grpo": ("dr_grpo", "token", 0.2, 0.2),
    "cispo": ("cispo", "token", 0.2, 1.2),
    "gspo": ("grpo", "sequence", 0.03, 0.04),
}
MAXIMUM = 12
LENGTHS = [(5, 3), (5, 12), (9, 7), (2, 1), (4, 12), (6, 8)]


@pytest.fixture(scope="module")
def model_directory(tokenizer_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(tokenizer_directory, folder / "model")
    random_model("tied").save_pretrained(folder / "model")
    return folder / "model"


def make_case(model, generator, with_reference):
    """Answers of random tokens, whose log-probabilities before, at the start and when written lie near those of now."""
    answers = []
    for number, (prompt, answer) in enumerate(LENGTHS):
        ids = torch.randint(3, model.config.vocab_size, (1, prompt + answer), generator=generator)
        with torch.no_grad():
            logits = model(ids).logits[0, prompt - 1:-1].log_softmax(-1)
        now = logits.gather(1, ids[0, prompt:, None])[:, 0]

        def near(deviation):
            return (now + deviation * torch.randn(answer, generator=generator)).tolist()

        answers.append({
            "prompt": ids[0, :prompt].tolist(), "answer": ids[0, prompt:].tolist(), "old": near(0.25), "written": near(0.4),
            "advantage": [1.2, -0.8, 0.5, -1.5, 0.9, -0.3][number], "masked": number == 4,
        } | ({"reference": near(0.5)} if with_reference else {}))
    return answers


def padded(rows, value, left=False, dtype=torch.long):
    width = max(map(len, rows))
    return torch.tensor(
        [[value] * (width - len(row)) + row if left else row + [value] * (width - len(row)) for row in rows], dtype=dtype)


def their_results(folder, directory, case):
    """trl's loss of the answers, its metrics, and the gradients that PyTorch finds."""
    loss_type, level, low, high = LOSSES[case["loss"]]
    model = load(directory)
    trainer = trl.GRPOTrainer(
        model, reward_funcs=lambda completions, **_: [0.0] * len(completions),
        processing_class=transformers.AutoTokenizer.from_pretrained(directory),
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}] * 6),
        args=trl.GRPOConfig(
            output_dir=str(folder), loss_type=loss_type, importance_sampling_level=level, epsilon=low, epsilon_high=high,
            beta=0.0, temperature=1.0, max_completion_length=MAXIMUM, per_device_train_batch_size=6, num_generations=6,
            bf16=False, use_cpu=True, report_to="none", gradient_checkpointing=False, disable_tqdm=True))
    trainer.beta = case["beta"]
    answers = case["answers"]
    mask = padded([[0 if answer["masked"] else 1] * len(answer["answer"]) for answer in answers], 0)
    old = padded([answer["old"] for answer in answers], 0.0, dtype=torch.float)
    inputs = {
        "prompt_ids": padded([answer["prompt"] for answer in answers], 0, left=True),
        "prompt_mask": padded([[1] * len(answer["prompt"]) for answer in answers], 0, left=True),
        "completion_ids": padded([answer["answer"] for answer in answers], 0), "completion_mask": mask,
        "advantages": torch.tensor([answer["advantage"] for answer in answers]), "old_per_token_logps": old,
        "num_items_in_batch": mask.sum(),
    }
    if case["beta"]:
        inputs["ref_per_token_logps"] = padded([answer["reference"] for answer in answers], 0.0, dtype=torch.float)
    if case["importance_limit"]:
        written = padded([answer["written"] for answer in answers], 0.0, dtype=torch.float)
        trainer.use_vllm = True
        inputs["importance_sampling_ratio"] = (old - written).exp().clamp(max=case["importance_limit"])
    model.eval()
    loss = trainer._compute_loss(model, inputs)
    loss.backward()
    metrics = {name: values[0] for name, values in trainer._metrics["eval"].items()}
    return loss.item(), metrics, {name: weight.grad.numpy() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("beta, importance_limit", [(0, 0), (0.3, 1.3)])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_metrics_and_gradients_are_those_of_trl(probe, model_directory, tmp_path, loss, beta, importance_limit):
    generator = torch.Generator().manual_seed(11)
    answers = make_case(load(model_directory), generator, beta > 0)
    case = {"loss": loss, "clip_low": LOSSES[loss][2], "clip_high": LOSSES[loss][3], "beta": beta,
            "importance_limit": importance_limit, "maximum_tokens": MAXIMUM, "answers": answers}
    (tmp_path / "case.json").write_text(json.dumps(case))
    probe("policy", model_directory, tmp_path / "case.json", tmp_path / "ours.safetensors")
    ours = safetensors.load_file(tmp_path / "ours.safetensors")
    value, metrics, gradients = their_results(tmp_path / "theirs", model_directory, case)
    assert ours["loss"][0] == pytest.approx(value, rel=1e-4, abs=1e-6)
    if beta:
        assert ours["kl"][0] == pytest.approx(metrics["kl"], rel=1e-4)
    if loss in ("grpo", "dapo", "dr-grpo"):
        for name in ("clip_ratio/low_mean", "clip_ratio/high_mean"):
            assert ours[name][0] == pytest.approx(metrics[name], rel=1e-5), name
        assert metrics["clip_ratio/region_mean"] > 0
    for name, theirs in gradients.items():
        error = numpy.linalg.norm(ours[name] - theirs) / numpy.linalg.norm(theirs)
        assert error < 1e-4, f"{name}: relative error {error:.1e}"


def test_reinforce_is_the_plain_policy_gradient(probe, model_directory, tmp_path):
    """nanochat's: -A·log p, mean over the tokens, which trl does not have."""
    model = load(model_directory)
    answers = make_case(model, torch.Generator().manual_seed(12), False)
    case = {"loss": "reinforce", "clip_low": 0.2, "clip_high": 0.2, "beta": 0, "importance_limit": 0,
            "maximum_tokens": MAXIMUM, "answers": answers}
    (tmp_path / "case.json").write_text(json.dumps(case))
    probe("policy", model_directory, tmp_path / "case.json", tmp_path / "ours.safetensors")
    ours = safetensors.load_file(tmp_path / "ours.safetensors")
    total, count = 0, 0
    for answer in answers:
        if answer["masked"]:
            continue
        ids = torch.tensor([answer["prompt"] + answer["answer"]])
        logits = model(ids).logits[0, len(answer["prompt"]) - 1:-1].log_softmax(-1)
        total = total - answer["advantage"] * logits.gather(1, ids[0, len(answer["prompt"]):, None]).sum()
        count += len(answer["answer"])
    (total / count).backward()
    assert ours["loss"][0] == pytest.approx(total.item() / count, rel=1e-4)
    for name, weight in model.named_parameters():
        theirs = weight.grad.numpy()
        assert numpy.linalg.norm(ours[name] - theirs) < 1e-4 * numpy.linalg.norm(theirs), name
