"""Makes Hugging Face model directories with random weights, for tests of the commands that read one."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SHAPES = {
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 intermediate_size=128),
    "small": dict(hidden_size=512, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=8, head_dim=32,
                  intermediate_size=1408),
    "base": dict(hidden_size=768, num_hidden_layers=16, num_attention_heads=16, num_key_value_heads=8, head_dim=48,
                 intermediate_size=2048),
}


def make_model(directory, tokenizer, shape="tiny", vocabulary=None, context=512, scale=0.02, seed=0):
    """Writes `directory`: a Llama of the shape, weights normal(0, scale), and the tokenizer's files."""
    directory, tokenizer = Path(directory), Path(tokenizer)
    directory.mkdir(parents=True)
    if vocabulary is None:
        vocabulary = len(json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    config = SHAPES[shape] | dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=vocabulary, bos_token_id=1, eos_token_id=2,
        hidden_act="silu", max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, attention_bias=False, mlp_bias=False, torch_dtype="float32")
    (directory / "config.json").write_text(json.dumps(config))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "self_attn.q_proj.weight": (queries, hidden), prefix + "self_attn.k_proj.weight": (keys, hidden),
            prefix + "self_attn.v_proj.weight": (keys, hidden), prefix + "self_attn.o_proj.weight": (hidden, queries),
            prefix + "mlp.gate_proj.weight": (inner, hidden), prefix + "mlp.up_proj.weight": (inner, hidden),
            prefix + "mlp.down_proj.weight": (hidden, inner),
            prefix + "input_layernorm.weight": (hidden,), prefix + "post_attention_layernorm.weight": (hidden,)}
    random = np.random.default_rng(seed)
    save_file(
        {name: np.ones(shape, np.float32) if len(shape) == 1 else
         random.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()},
        str(directory / "model.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, directory / name)
    return directory
