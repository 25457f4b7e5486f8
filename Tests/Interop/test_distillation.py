"""Distillation against `trl`: the divergence and the gradient of every weight, in fp32."""

import json

import pytest

pytestmark = pytest.mark.heavy

from test_dpo import compare, models  # noqa: E402, F401
import torch  # noqa: E402
from test_transformers import load  # noqa: E402
from trl.experimental.gkd import GKDTrainer  # noqa: E402

DOCUMENTS = [[1, 40, 7, 300, 12, 55, 2], [9, 8, 120, 44], [3, 250, 250, 17, 18, 19, 20, 21, 22, 23, 24]]


def compare_with(divergence, probe, models, tmp_path, alpha, temperature, beta, *top):
    """Compares alpha · cross-entropy + (1 - alpha) · temperature² · divergence, a mean over tokens, and its gradients.

    `divergence` gets logits, a teacher's logits and labels; `top` is how many of a teacher's tokens ours takes."""
    student, teacher = load(models[0]), load(models[1])
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in DOCUMENTS], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in DOCUMENTS], batch_first=True)
    labels = rows.masked_fill(mask == 0, -100)[:, 1:]
    logits = student(rows, attention_mask=mask).logits[:, :-1]
    with torch.no_grad():
        other = teacher(rows, attention_mask=mask).logits[:, :-1]
    text = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    loss = alpha * text + (1 - alpha) * temperature**2 * divergence(logits, other, labels)
    loss.backward()
    (tmp_path / "documents.json").write_text(json.dumps(DOCUMENTS))
    probe(
        "distillation", *models, tmp_path / "documents.json", alpha, temperature, beta, tmp_path / "ours.safetensors", *top)
    compare(
        tmp_path / "ours.safetensors", loss.item(), {"cross_entropy": text.item()},
        {name: weight.grad.numpy() for name, weight in student.named_parameters()})


@pytest.mark.parametrize("alpha, temperature, beta", [(0, 1, 0), (0, 1, 1), (0, 0.9, 0.5), (0.5, 1.5, 0), (0.3, 2, 0.1)])
def test_loss_and_gradients_are_those_of_trl(probe, models, tmp_path, alpha, temperature, beta):
    def divergence(logits, other, labels):
        return GKDTrainer.generalized_jsd_loss(logits, other, labels, beta=beta, temperature=temperature)

    compare_with(divergence, probe, models, tmp_path, alpha, temperature, beta)


def divergence_of_the_likeliest(logits, other, labels, temperature, beta, top):
    """The generalised JSD, mean over tokens, of top + 1 outcomes: the teacher's likeliest tokens, and all others as one."""
    student, teacher = torch.softmax(logits / temperature, -1), torch.softmax(other / temperature, -1)
    tokens = teacher.topk(top, -1).indices
    def outcomes(probabilities):
        likeliest = probabilities.gather(-1, tokens)
        others = torch.ones_like(probabilities).scatter(-1, tokens, 0)
        return torch.cat([likeliest, (probabilities * others).sum(-1, keepdim=True)], -1)
    s, q = outcomes(student), outcomes(teacher)
    if beta == 0:
        divergence = (q * (q.log() - s.log())).sum(-1)
    elif beta == 1:
        divergence = (s * (s.log() - q.log())).sum(-1)
    else:
        mixed = ((1 - beta) * s + beta * q).log()
        divergence = (beta * q * (q.log() - mixed) + (1 - beta) * s * (s.log() - mixed)).sum(-1)
    return divergence[labels != -100].mean()


@pytest.mark.parametrize("alpha, temperature, beta, top", [
    (0, 1, 0, 1), (0, 1, 1, 8), (0, 0.9, 0.5, 40), (0.5, 1.5, 0, 32), (0.3, 2, 0.1, 5)])
def test_likeliest_tokens_alone_are_those_of_a_twin(probe, models, tmp_path, alpha, temperature, beta, top):
    """The same of a teacher's likeliest tokens and of all others together, with gradients by torch."""
    def divergence(logits, other, labels):
        return divergence_of_the_likeliest(logits, other, labels, temperature, beta, top)

    compare_with(divergence, probe, models, tmp_path, alpha, temperature, beta, top)
