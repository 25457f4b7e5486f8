#!/usr/bin/env python3
"""The rival of `minimind lora` in scripts/bench_lora.py: an adapter trained by transformers and peft in PyTorch on the CPU.

    .venv-interop/bin/python scripts/peers/peft_train.py --model DIR --data rows.jsonl --precision bf16

The base and the chat template are the model directory's own. A step takes --batch conversations, padded to the longest of
them and to a multiple of 32, so that torch.compile has few shapes to compile; the loss is over the answers' tokens, AdamW,
gradient clipping at 1.0. `bf16` keeps the frozen base in bf16 and the adapter in fp32, under autocast. Tokens that are not
padding are counted, without the first steps, in which compilation happens.
"""

import argparse
import contextlib
import json
import resource
import statistics
import time

import peft
import torch
import transformers

UNCOUNTED_STEPS = 4


def batches(path, tokenizer, size):
    """Token ids, attention masks and labels of conversations, in their order."""
    rows = []
    for line in open(path, encoding="utf-8"):
        messages = json.loads(line)["messages"]
        prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(messages, return_dict=False)
        rows.append((whole, len(prompt)))
    while True:
        for start in range(0, len(rows) - size + 1, size):
            part = rows[start:start + size]
            length = -(-max(len(ids) for ids, _ in part) // 32) * 32
            ids, labels = torch.zeros(size, length, dtype=torch.long), torch.full((size, length), -100)
            mask = torch.zeros(size, length, dtype=torch.long)
            for index, (tokens, prompt) in enumerate(part):
                ids[index, :len(tokens)] = torch.tensor(tokens)
                mask[index, :len(tokens)] = 1
                labels[index, prompt:len(tokens)] = ids[index, prompt:len(tokens)]
            yield ids, mask, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    arguments = parser.parse_args()
    is_bf16 = arguments.precision == "bf16"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=torch.bfloat16 if is_bf16 else torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    model = peft.get_peft_model(model, peft.LoraConfig(r=arguments.rank, target_modules="all-linear", lora_dropout=0.0)).train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4)
    forward = model if arguments.eager else torch.compile(model, dynamic=True)
    source = batches(arguments.data, transformers.AutoTokenizer.from_pretrained(arguments.model), arguments.batch)
    rates = []
    for _ in range(UNCOUNTED_STEPS + arguments.steps):
        ids, mask, labels = next(source)
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16) if is_bf16 else contextlib.nullcontext():
            loss = forward(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rates.append(mask.sum().item() / (time.perf_counter() - start))
    print(json.dumps({
        "tokens_per_second": statistics.median(rates[UNCOUNTED_STEPS:]), "loss": loss.item(),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "torch": torch.__version__,
        "compiled": not arguments.eager, "precision": arguments.precision, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
