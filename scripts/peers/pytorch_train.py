#!/usr/bin/env python3
"""The rival of `minimind bench train`: optimizer steps of Hugging Face's Llama, or for `moe` of its
Ernie4_5_MoeForCausalLM with the load-balance loss, in PyTorch on the CPU, or with --device cuda on a GPU.

    .venv-interop/bin/python scripts/peers/pytorch_train.py --model small --precision bf16 --json

The model has the dimensions of ours, full sequences of random tokens, AdamW and gradient clipping at 1.0. `bf16` is
PyTorch's own way to it, autocast over fp32 weights; `torch.compile` is on unless --eager is given. --experts chooses
among the ways in which transformers computes experts. The first steps, in which compilation happens, are not counted.
With --useful-length every sequence holds that many tokens and is padded, as MiniMind v1 feeds its documents; only those
tokens are counted.
"""

import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
from transformers import Ernie4_5_MoeConfig, Ernie4_5_MoeForCausalLM, LlamaConfig, LlamaForCausalLM

MODELS = {
    "tiny": {
        "hidden_size": 256, "num_hidden_layers": 5, "intermediate_size": 704, "num_attention_heads": 8,
        "num_key_value_heads": 4},
    "small": {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1408},
    "base": {"hidden_size": 768, "num_hidden_layers": 16, "intermediate_size": 2048},
    "moe": {
        "hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1408, "moe_intermediate_size": 1408,
        "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 0,
        "router_aux_loss_coef": 0.01, "output_router_logits": True},
}
UNCOUNTED_STEPS = 2


def build(name, experts):
    torch.manual_seed(0)
    is_mixture = name == "moe"
    configuration = (Ernie4_5_MoeConfig if is_mixture else LlamaConfig)(
        vocab_size=6400, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        rms_norm_eps=1e-5, use_cache=False, attn_implementation="sdpa",
        **{"num_attention_heads": 16, "num_key_value_heads": 8} | MODELS[name])
    model = (Ernie4_5_MoeForCausalLM if is_mixture else LlamaForCausalLM)(configuration)
    if is_mixture and experts:
        model.set_experts_implementation(experts)
    return model.train()


def measure(arguments):
    on_gpu = arguments.device == "cuda"
    if on_gpu:
        # What people who train with PyTorch set: products of fp32 in TF32.
        torch.set_float32_matmul_precision("high")
    model = build(arguments.model, arguments.experts).to(arguments.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, fused=True)
    forward = model if arguments.eager else torch.compile(model)
    is_bf16 = arguments.precision == "bf16"
    autocast = torch.autocast(arguments.device, dtype=torch.bfloat16) if is_bf16 else contextlib.nullcontext()
    useful = arguments.useful_length or arguments.sequence_length
    rates = []
    for _ in range(UNCOUNTED_STEPS + arguments.steps):
        tokens = torch.randint(3, 6400, (arguments.batch, arguments.sequence_length), device=arguments.device)
        inputs = {"input_ids": tokens, "labels": tokens}
        if useful < arguments.sequence_length:
            mask = (torch.arange(arguments.sequence_length, device=arguments.device) < useful).expand_as(tokens).contiguous()
            labels = tokens.masked_fill(~mask, -100)
            inputs = {"input_ids": tokens * mask, "attention_mask": mask.long(), "labels": labels}
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        with autocast:
            loss = forward(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()
        rates.append(arguments.batch * useful / (time.perf_counter() - start))
    counted = rates[UNCOUNTED_STEPS:]
    return {
        "tokens_per_second": statistics.median(counted),
        "best_tokens_per_second": max(counted),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "model": arguments.model,
        "precision": arguments.precision,
        "compiled": not arguments.eager,
        "experts": arguments.experts or "default",
        "threads": torch.get_num_threads(),
        "batch_tokens": arguments.batch * arguments.sequence_length,
        "sequence_length": arguments.sequence_length,
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", choices=MODELS)
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=8, help="sequences a step")
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--useful-length", type=int, default=0, help="tokens of a sequence that are not padding")
    parser.add_argument("--steps", type=int, default=5, help="counted steps")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--experts", choices=["eager", "batched_mm", "grouped_mm"], help="default: transformers' own choice")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    result = measure(arguments)
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
