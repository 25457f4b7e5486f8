"""Makes GGUF files of random weights with the `gguf` package's own writer, with the names and metadata that llama.cpp's
convert script gives them."""

import json
from pathlib import Path

import gguf
import numpy as np

#: All types that are read, by their names in ggml.
TYPES = {name: getattr(gguf.GGMLQuantizationType, name) for name in
         ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]}

SHAPE = dict(hidden=256, layers=2, heads=4, keys=2, head=64, inner=512, context=256)


def stored(random, shape, kind, scale=0.1):
    """A matrix as its bytes: quantized by the package, or, in types that it only reads, random bits with usual scales."""
    values = random.normal(0, scale, shape).astype(np.float32)
    if kind.name not in ("Q4_K", "Q5_K", "Q6_K"):
        return gguf.quantize(values, kind)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (values.size // block, size), dtype=np.uint8)
    places = [208] if kind.name == "Q6_K" else [0, 2]
    for place in places:
        scales = random.uniform(1e-4, 5e-4, len(blocks)).astype(np.float16)
        blocks[:, place:place + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(*shape[:-1], -1)


def tensors(architecture, vocabulary, tied=True, biases=False, experts=0):
    """The names and shapes of a model, matrices and vectors."""
    s = SHAPE
    queries, keys = s["heads"] * s["head"], s["keys"] * s["head"]
    result = {"token_embd.weight": (vocabulary, s["hidden"]), "output_norm.weight": (s["hidden"],)}
    if not tied:
        result["output.weight"] = (vocabulary, s["hidden"])
    for layer in range(s["layers"]):
        block = {"attn_norm.weight": (s["hidden"],), "ffn_norm.weight": (s["hidden"],),
                 "attn_q.weight": (queries, s["hidden"]), "attn_k.weight": (keys, s["hidden"]),
                 "attn_v.weight": (keys, s["hidden"]), "attn_output.weight": (s["hidden"], queries)}
        if biases:
            block |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
        if architecture.startswith("qwen3"):
            block |= {"attn_q_norm.weight": (s["head"],), "attn_k_norm.weight": (s["head"],)}
        if experts:
            block |= {"ffn_gate_inp.weight": (experts, s["hidden"]), "ffn_gate_exps.weight": (experts, s["inner"], s["hidden"]),
                      "ffn_up_exps.weight": (experts, s["inner"], s["hidden"]),
                      "ffn_down_exps.weight": (experts, s["hidden"], s["inner"])}
        else:
            block |= {"ffn_gate.weight": (s["inner"], s["hidden"]), "ffn_up.weight": (s["inner"], s["hidden"]),
                      "ffn_down.weight": (s["hidden"], s["inner"])}
        result |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return result


def add_tokenizer(writer, tokenizer, pre="gpt-2"):
    """A byte-level tokenizer's directory as the convert script writes it."""
    file = json.loads((Path(tokenizer) / "tokenizer.json").read_text(encoding="utf-8"))
    ids = file["model"]["vocab"]
    added = {token["id"]: token["special"] for token in file["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    kinds = {None: gguf.TokenType.NORMAL, True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_token_types([kinds[added.get(id)] for id in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in file["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(tokens)


def write(path, tokenizer, kind="F32", architecture="llama", seed=0, pre="gpt-2", tied=True, biases=False, experts=0,
          metadata=None, extra=None, vocabulary=None, add_tokens=add_tokenizer):
    """Writes a model; returns the dequantized values of its tensors by their names.

    metadata: a function that adds to the writer; extra: more tensors, in fp32; add_tokens: adds the tokenizer.
    """
    s, random = SHAPE, np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("random")
    writer.add_context_length(s["context"])
    writer.add_embedding_length(s["hidden"])
    writer.add_block_count(s["layers"])
    writer.add_feed_forward_length(s["inner"])
    writer.add_head_count(s["heads"])
    writer.add_head_count_kv(s["keys"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(s["head"])
    writer.add_key_length(s["head"])
    writer.add_value_length(s["head"])
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
        writer.add_expert_feed_forward_length(s["inner"])
    count = add_tokens(writer, tokenizer, pre) if tokenizer else 0
    writer.add_vocab_size(vocabulary or count)
    if metadata:
        metadata(writer)
    values = {}
    for name, shape in tensors(architecture, vocabulary or count, tied, biases, experts).items():
        if len(shape) == 1 or name.endswith("ffn_gate_inp.weight"):
            array = random.normal(0 if name.endswith("bias") else 1, 0.2, shape).astype(np.float32)
            writer.add_tensor(name, array)
            values[name] = array
        else:
            type_ = TYPES[kind]
            data = stored(random, shape, type_)
            values[name] = gguf.dequantize(data, type_).reshape(shape)
            writer.add_tensor(name, data, raw_dtype=None if kind in ("F32", "F16") else type_)
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
        values[name] = array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def halves(rows, heads):
    """Rows of Wq or Wk in the order that turns halves of a head against each other: undoes `permute` of llama.cpp."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def hugging_face(values, architecture="llama"):
    """The same weights by their names in a Hugging Face directory."""
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
             "ffn_gate_inp": "mlp.gate"}
    result = {}
    for name, array in values.items():
        if name == "rope_freqs.weight":
            continue
        layer = "model.layers." + name.split(".")[1] + "." if name.startswith("blk.") else ""
        role, kind = name.split(".")[-2:]
        if architecture == "llama" and role in ("attn_q", "attn_k"):
            array = halves(array, SHAPE["heads"] if role == "attn_q" else SHAPE["keys"])
        if role.endswith("_exps"):
            for expert, matrix in enumerate(array):
                result[f"{layer}mlp.experts.{expert}.{names[role.removesuffix('_exps')].removeprefix('mlp.')}.{kind}"] = matrix
        else:
            result[f"{layer}{names[role]}.{kind}"] = array
    return result
