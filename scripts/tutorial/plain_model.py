"""The whole model in plain NumPy, forward only, to look inside one that was trained: docs/tutorial/03-model.md.

Dense models without head norms or rotary scaling, such as tiny, small and base. One document at a time.
"""

import json
import struct
from pathlib import Path

import numpy as np


def read_safetensors(path):
    """The arrays of a file: a header of names, shapes and places as JSON, then the numbers (fp32 here)."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()}


def model_directory(path):
    """That of a run, or the directory itself."""
    return Path(path) / "model" if (Path(path) / "model").is_dir() else Path(path)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


class PlainModel:
    def __init__(self, path):
        directory = model_directory(path)
        self.settings = json.loads((directory / "config.json").read_text())
        self.weights = read_safetensors(directory / "model.safetensors")

    def norm(self, x, name):
        """Divides each row by its root mean square; [tokens, columns]."""
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.settings["rms_norm_eps"]) * self.weights[name]

    def heads(self, x, name, count):
        """x·Wᵀ, cut into heads: [heads, tokens, head size]."""
        return (x @ self.weights[name].T).reshape(len(x), count, -1).transpose(1, 0, 2)

    def rotate(self, heads):
        """Turns the pair (i, i + d/2) of a head by position · θ^(-2i/d)."""
        _, tokens, size = heads.shape
        angles = np.arange(tokens)[:, None] * self.settings["rope_theta"] ** (-np.arange(0, size, 2) / size)
        a, b = heads[..., :size // 2], heads[..., size // 2:]
        return np.concatenate(
            [a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    def logits(self, tokens):
        """[tokens, vocabulary], and the attention weights of each layer: [heads, tokens, tokens]."""
        settings, attention_maps = self.settings, []
        groups = settings["num_attention_heads"] // settings["num_key_value_heads"]
        future = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        x = self.weights["model.embed_tokens.weight"][tokens]
        for layer in range(settings["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            a = self.norm(x, prefix + "input_layernorm.weight")
            queries = self.heads(a, prefix + "self_attn.q_proj.weight", settings["num_attention_heads"])
            keys = self.heads(a, prefix + "self_attn.k_proj.weight", settings["num_key_value_heads"])
            values = self.heads(a, prefix + "self_attn.v_proj.weight", settings["num_key_value_heads"])
            # Each key/value head serves a group of query heads.
            queries, keys = self.rotate(queries), self.rotate(keys).repeat(groups, 0)
            scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(queries.shape[-1])
            attention_maps.append(softmax(scores + future))
            attended = attention_maps[-1] @ values.repeat(groups, 0)
            joined = attended.transpose(1, 0, 2).reshape(len(tokens), -1)
            x = x + joined @ self.weights[prefix + "self_attn.o_proj.weight"].T
            b = self.norm(x, prefix + "post_attention_layernorm.weight")
            gate = b @ self.weights[prefix + "mlp.gate_proj.weight"].T
            up = b @ self.weights[prefix + "mlp.up_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weights[prefix + "mlp.down_proj.weight"].T
        output = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return self.norm(x, "model.norm.weight") @ output.T, attention_maps

    def losses(self, tokens):
        """-log P(token | those before it) for each token but the first, in nats."""
        probabilities = softmax(self.logits(tokens[:-1])[0])
        return -np.log(probabilities[np.arange(len(tokens) - 1), tokens[1:]])
