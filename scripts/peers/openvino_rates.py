#!/usr/bin/env python3
"""Another rival of `minimind bench decode` and `bench prefill`: OpenVINO GenAI, on a GGUF file in q8_0, which it reads itself.

    .venv-peers/bin/python scripts/peers/openvino_rates.py --model model.gguf --mode decode --tokens 128

Its own counters are read: the time of an output token after the first, or that until the first. Every prompt begins with
another token, since prefixes are cached. The median of 7 runs counts.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import openvino
import openvino_genai


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mode", choices=["decode", "prefill"], required=True)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    pipeline = openvino_genai.LLMPipeline(str(arguments.model), "CPU", INFERENCE_NUM_THREADS=arguments.threads)
    settings = openvino_genai.GenerationConfig()
    settings.do_sample, settings.ignore_eos = False, True
    prompt = arguments.tokens if arguments.mode == "prefill" else 1
    settings.max_new_tokens = arguments.tokens if arguments.mode == "decode" else 1

    def rate(run):
        ids = np.array([[(run * 31 + index * 7919) % 2000 for index in range(prompt)]], np.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        metrics = pipeline.generate(inputs, settings).perf_metrics
        return 1000 / metrics.get_tpot().mean if arguments.mode == "decode" else prompt * 1000 / metrics.get_ttft().mean

    rate(0)
    print(json.dumps({"model": arguments.model.name, "mode": arguments.mode, "tokens": arguments.tokens, "threads": arguments.threads,
                      "tokens_per_second": statistics.median(rate(run) for run in range(1, 8))}))


if __name__ == "__main__":
    main()
