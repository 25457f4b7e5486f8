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
    # Models that people use.
    "smollm2-135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, head_dim=64,
                         intermediate_size=1536, vocab_size=49152, rope_theta=100000.0),
    "qwen3-0.6b": dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
                       intermediate_size=3072, vocab_size=151936, rope_theta=1000000.0, architectures=["Qwen3ForCausalLM"],
                       model_type="qwen3", rms_norm_eps=1e-6),
    "llama-3.2-1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64,
                         intermediate_size=8192, vocab_size=128256, rope_theta=500000.0,
                         rope_scaling=dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                           original_max_position_embeddings=8192)),
}


def make_model(directory, tokenizer, shape="tiny", vocabulary=None, context=512, scale=0.02, seed=0, dtype=np.float32):
    """Writes `directory`: a model of the shape, weights normal(0, scale), and the tokenizer's files."""
    directory, tokenizer = Path(directory), Path(tokenizer)
    directory.mkdir(parents=True)
    vocabulary = SHAPES[shape].get("vocab_size", vocabulary)
    if vocabulary is None:
        vocabulary = len(json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", bos_token_id=1, eos_token_id=2,
        hidden_act="silu", max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, attention_bias=False, mlp_bias=False, torch_dtype=np.dtype(dtype).name) | SHAPES[shape] | dict(vocab_size=vocabulary)
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
        if config["model_type"] == "qwen3":
            shapes |= {prefix + f"self_attn.{name}_norm.weight": (config["head_dim"],) for name in "qk"}
    random = np.random.default_rng(seed)
    save_file(
        {name: np.ones(shape, dtype) if len(shape) == 1 else
         random.normal(0, scale, shape).astype(dtype) for name, shape in shapes.items()},
        str(directory / "model.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, directory / name)
    return directory
