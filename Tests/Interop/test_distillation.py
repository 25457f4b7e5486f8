"""Distillation against `trl`: the divergence and the gradient of every weight, in fp32."""

import json

import pytest

pytestmark = pytest.mark.heavy

from test_dpo import compare, models  # noqa: E402, F401
import torch  # noqa: E402
from test_transformers import load  # noqa: E402
from trl.experimental.gkd import GKDTrainer  # noqa: E402

DOCUMENTS = [[1, 40, 7, 300, 12, 55, 2], [9, 8, 120, 44], [3, 250, 250, 17, 18, 19, 20, 21, 22, 23, 24]]


@pytest.mark.parametrize("alpha, temperature, beta", [(0, 1, 0), (0, 1, 1), (0, 0.9, 0.5), (0.5, 1.5, 0), (0.3, 2, 0.1)])
def test_loss_and_gradients_are_those_of_trl(probe, models, tmp_path, alpha, temperature, beta):
    """alpha · cross-entropy + (1 - alpha) · temperature² · trl's generalised JSD, as a mean over tokens."""
    student, teacher = load(models[0]), load(models[1])
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in DOCUMENTS], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in DOCUMENTS], batch_first=True)
    labels = rows.masked_fill(mask == 0, -100)[:, 1:]
    logits = student(rows, attention_mask=mask).logits[:, :-1]
    with torch.no_grad():
        other = teacher(rows, attention_mask=mask).logits[:, :-1]
    text = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    divergence = GKDTrainer.generalized_jsd_loss(logits, other, labels, beta=beta, temperature=temperature)
    loss = alpha * text + (1 - alpha) * temperature**2 * divergence
    loss.backward()
    (tmp_path / "documents.json").write_text(json.dumps(DOCUMENTS))
    probe("distillation", *models, tmp_path / "documents.json", alpha, temperature, beta, tmp_path / "ours.safetensors")
    compare(
        tmp_path / "ours.safetensors", loss.item(), {"cross_entropy": text.item()},
        {name: weight.grad.numpy() for name, weight in student.named_parameters()})
