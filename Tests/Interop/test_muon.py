"""Muon against PyTorch's own: the steps of a run, repeated from its checkpoints."""

import json

import pytest
from safetensors.numpy import load_file

STEPS, RATE, DECAY, MOMENTUM = 3, 0.02, 0.3, 0.95


@pytest.mark.heavy
def test_steps(minimind, tmp_path, monkeypatch):
    import torch

    # PyTorch iterates in bfloat16 whatever the weights are, which moves small singular values by a tenth. Left in fp32,
    # its arithmetic must give the same numbers.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)

    (tmp_path / "text.txt").write_text("\n".join(f"Anna sees Ben {number} times in the park." for number in range(300)))
    minimind("tokenizer", "train", "--input", tmp_path / "text.txt", "--output", tmp_path / "tokenizer", "--vocab-size", 300)
    minimind(
        "data", "pretrain", "--input", tmp_path / "text.txt", "--tokenizer", tmp_path / "tokenizer", "--output",
        tmp_path / "data")
    (tmp_path / "model.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": True}))
    run = tmp_path / "run"
    minimind(
        "pretrain", "--model", tmp_path / "model.json", "--data", tmp_path / "data", "--output", run, "--optimizer",
        "muon", "--precision", "fp32", "--learning-rate", RATE, "--weight-decay", DECAY, "--schedule", "constant",
        "--warmup-steps", 0, "--steps", STEPS, "--checkpoint-interval", 1, "--keep-checkpoints", STEPS,
        "--batch-tokens", 512, "--micro-batch-tokens", 256, "--sequence-length", 128, "--threads", 1)
    checkpoints = [
        [load_file(run / f"checkpoints/step-{step}" / name) for name in ["model/model.safetensors", "optimizer.safetensors"]]
        for step in range(1, STEPS + 1)]

    matrices = [key for key in checkpoints[0][0] if key.endswith("_proj.weight")]
    assert len(matrices) == 14
    for (weights, moments), (weights_after, moments_after) in zip(checkpoints, checkpoints[1:]):
        assert not [key for key in moments if "_proj" in key and key.endswith("second_moment")]
        for key in matrices:
            before, mean = torch.tensor(weights[key]), torch.tensor(moments[key + ".first_moment"])
            # m' = μ·m + (1 - μ)·g says what the clipped gradient was.
            gradient = (torch.tensor(moments_after[key + ".first_moment"]) - MOMENTUM * mean) / (1 - MOMENTUM)
            parameter = torch.nn.Parameter(before.clone())
            optimizer = torch.optim.Muon(
                [parameter], lr=RATE, weight_decay=DECAY, momentum=MOMENTUM, nesterov=True,
                adjust_lr_fn="match_rms_adamw")
            optimizer.state[parameter]["momentum_buffer"] = mean.clone()
            parameter.grad = gradient
            optimizer.step()
            moved = torch.tensor(weights_after[key]) - before
            expected = parameter.detach() - before
            distance = (moved - expected).norm() / expected.norm()
            assert distance < 1e-3, (key, distance)
