"""PPO against PyTorch: advantages, returns, loss, what is reported, and the gradient of every weight and of the value head, in fp32.

trl has left PPO out since its version 1; the formulas here are those of its last trainer (trl/experimental/ppo/ppo_trainer.py), with
one difference: the reward is at an answer's last token, which has chosen to end there, and no token follows. trl puts it one place
after that, where it trains a value as well.
"""

import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
from test_grpo import LENGTHS, make_case, model_directory, padded  # noqa: E402, F401 (a fixture)
from test_transformers import load  # noqa: E402


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


def masked_whiten(values, mask):
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * torch.rsqrt(variance * mask.sum() / (mask.sum() - 1) + 1e-8)


def estimated(case, mask):
    """Advantages and returns [answers, longest], as trl's loop from the last token on has them."""
    def column(name):
        return padded([answer[name] for answer in case["answers"]], 0.0, dtype=torch.double)

    values = column("old_values") * mask
    rewards = -case["beta"] * (column("old") - column("reference")) * mask
    lengths = [len(answer["answer"]) for answer in case["answers"]]
    for number, answer in enumerate(case["answers"]):
        rewards[number, lengths[number] - 1] += answer["reward"] * mask[number, lengths[number] - 1]
    after, reversed_advantages = 0, []
    for place in reversed(range(max(lengths))):
        following = values[:, place + 1] if place < max(lengths) - 1 else 0.0
        delta = rewards[:, place] + case["gamma"] * following - values[:, place]
        after = delta + case["gamma"] * case["lambda"] * after
        reversed_advantages.append(after)
    advantages = torch.stack(reversed_advantages[::-1], axis=1)
    return masked_whiten(advantages, mask) * mask, (advantages + values) * mask


def their_results(model, case):
    mask = padded([[0 if answer["masked"] else 1] * len(answer["answer"]) for answer in case["answers"]], 0)
    advantages, returns = estimated(case, mask)
    head = torch.tensor(case["head"], requires_grad=True)
    rows, values = [], []
    for answer in case["answers"]:
        output = model(torch.tensor([answer["prompt"] + answer["answer"]]), output_hidden_states=True)
        start = len(answer["prompt"]) - 1
        logits = output.logits[0, start:-1].log_softmax(-1)
        rows.append(logits.gather(1, torch.tensor(answer["answer"])[:, None])[:, 0])
        # The last of the hidden states is the normalised one.
        values.append(output.hidden_states[-1][0, start:-1] @ head)
    pad = torch.nn.utils.rnn.pad_sequence
    now, value = pad(rows, batch_first=True), pad(values, batch_first=True)
    old, old_values = (padded([answer[name] for answer in case["answers"]], 0.0, dtype=torch.float)
                       for name in ("old", "old_values"))
    clipped = torch.clamp(value, old_values - case["value_clip"], old_values + case["value_clip"])
    losses = torch.square(value - returns), torch.square(clipped - returns)
    value_loss = 0.5 * masked_mean(torch.max(*losses), mask)
    difference = (now - old) * mask
    ratio = difference.exp()
    policy_losses = -advantages * ratio, -advantages * torch.clamp(ratio, 1 - case["clip_low"], 1 + case["clip_high"])
    policy_loss = masked_mean(torch.max(*policy_losses), mask)
    loss = policy_loss + case["value_coefficient"] * value_loss
    loss.backward()
    flat = mask.bool()
    return {
        "loss": loss, "loss/policy_avg": policy_loss, "loss/value_avg": value_loss,
        "val/clipfrac_avg": masked_mean((losses[1] > losses[0]).float(), mask),
        "policy/approxkl_avg": 0.5 * masked_mean(difference ** 2, mask),
        "clip_ratio/region_mean": masked_mean((policy_losses[1] > policy_losses[0]).float(), mask),
        "explained_variance": 1 - (returns - old_values)[flat].var() / returns[flat].var(),
        "advantages": advantages[flat], "returns": returns[flat], "value_head": head.grad,
    } | {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("gamma, lam, beta", [(1, 0.95, 0), (0.97, 0.8, 0.2)])
def test_advantages_loss_and_gradients_are_those_of_pytorch(probe, model_directory, tmp_path, gamma, lam, beta):  # noqa: F811
    model = load(model_directory)
    generator = torch.Generator().manual_seed(13)
    answers = make_case(model, generator, True)
    width = model.config.hidden_size
    head = torch.randn(width, generator=generator) / width ** 0.5
    for number, (answer, (prompt, length)) in enumerate(zip(answers, LENGTHS)):
        with torch.no_grad():
            hidden = model(torch.tensor([answer["prompt"] + answer["answer"]]), output_hidden_states=True).hidden_states[-1]
        # Near those of now, so that some values have moved beyond the bound and some have not.
        near = hidden[0, prompt - 1:-1] @ head + 0.2 * torch.randn(length, generator=generator)
        answer |= {"old_values": near.tolist(), "reward": [1, 0, 0.5, -0.3, 2, 1][number]}
    case = {"clip_low": 0.2, "clip_high": 0.2, "value_clip": 0.15, "value_coefficient": 0.3, "gamma": gamma, "lambda": lam,
            "beta": beta, "head": head.tolist(), "answers": answers}
    (tmp_path / "case.json").write_text(json.dumps(case))
    probe("values", model_directory, tmp_path / "case.json", tmp_path / "ours.safetensors")
    ours = safetensors.load_file(tmp_path / "ours.safetensors")
    ours["clip_ratio/region_mean"] = ours["clip_ratio/low_mean"] + ours["clip_ratio/high_mean"]
    theirs = their_results(model, case)
    assert theirs["val/clipfrac_avg"] > 0 and theirs["clip_ratio/region_mean"] > 0
    for name, value in theirs.items():
        value = value.detach().double().numpy()
        error = numpy.linalg.norm(ours[name] - value) / max(numpy.linalg.norm(value), 1e-12)
        assert error < 1e-4, f"{name}: relative error {error:.1e}"
