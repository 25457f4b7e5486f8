#!/usr/bin/env python3
"""The rival of `minimind grpo`: steps of trl's GRPOTrainer, whose answers transformers writes, on the CPU.

    .venv-interop/bin/python scripts/peers/trl_grpo.py --model RUN/model --prompts prompts.jsonl --steps 3

Prints the median seconds of a step (writing, rewards, the update) and the mean length of the answers as JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402


class Clock(transformers.TrainerCallback):
    """When each step ends; one begins where the one before it has ended."""

    def __init__(self):
        self.times, self.lengths = [], []

    def on_train_begin(self, *_, **__):
        self.times.append(time.perf_counter())

    def on_step_end(self, *_, **__):
        self.times.append(time.perf_counter())

    def on_log(self, _arguments, _state, _control, logs=None, **__):
        if logs and "completions/mean_length" in logs:
            self.lengths.append(logs["completions/mean_length"])


def distinct_share(completions, **_):
    """A reward that costs nothing and differs: the share of an answer's words that it has once only."""
    return [len(set(text.split())) / max(1, len(text.split())) for text in completions]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--uncounted", type=int, default=1, help="first steps that are not counted")
    parser.add_argument("--prompts-per-step", type=int, default=64)
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64, help="answers in a forward and backward pass")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    total = arguments.prompts_per_step * arguments.answers
    batch = min(arguments.batch, total)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.GRPOTrainer(
            transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32),
            reward_funcs=distinct_share, processing_class=transformers.AutoTokenizer.from_pretrained(arguments.model),
            train_dataset=datasets.Dataset.from_json(arguments.prompts), callbacks=[clock],
            args=trl.GRPOConfig(
                output_dir=folder, loss_type="dapo", beta=0.0, temperature=1.0, top_k=0, top_p=1.0, learning_rate=1e-6,
                max_completion_length=arguments.tokens, num_generations=arguments.answers, per_device_train_batch_size=batch,
                gradient_accumulation_steps=total // batch, generation_batch_size=total, max_steps=arguments.steps, bf16=True,
                use_cpu=True, report_to="none", gradient_checkpointing=False, disable_tqdm=True, logging_steps=1,
                save_strategy="no"))
        trainer.train()
    seconds = [end - start for start, end in zip(clock.times, clock.times[1:])]
    print(json.dumps({"seconds": statistics.median(seconds[arguments.uncounted:]),
                      "answer_tokens": statistics.mean(clock.lengths)}))


if __name__ == "__main__":
    main()
