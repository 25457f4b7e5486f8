#!/usr/bin/env python3
"""The rival of `minimind bench decode` and `bench prefill`: llama.cpp, through llama-cpp-python, on a GGUF file.

    .venv-peers/bin/python scripts/peers/llama_cpp_rates.py --model model.gguf --mode decode --tokens 128

What is timed is llama_decode alone, as in llama.cpp's own llama-bench: no sampling, no text. `decode` reads one token after
another into an empty cache, `prefill` all at once; the median of 7 runs counts. --quantize q4_0 first writes the file in
that type beside it, with llama.cpp's own program.
"""

import argparse
import ctypes
import json
import statistics
import time
from pathlib import Path

import llama_cpp


@llama_cpp.llama_log_callback
def silence(level, text, data):
    """Takes what llama.cpp would write on standard error."""


def quantize(source, target):
    """Writes `target` with matrices in q4_0; llama.cpp keeps the embedding, which is the output too, in 6 bits."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) != 0:
        raise SystemExit(f"llama.cpp cannot quantize {source}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mode", choices=["decode", "prefill"], required=True)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash-attention", action="store_true")
    parser.add_argument("--quantize", choices=["q4_0"])
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(silence, None)
    path = arguments.model
    if arguments.quantize:
        path = path.with_suffix(f".{arguments.quantize}.gguf")
        if not path.exists():
            quantize(arguments.model, path)

    model = llama_cpp.Llama(
        str(path), n_ctx=arguments.tokens, n_batch=512, n_ubatch=512, n_threads=arguments.threads,
        n_threads_batch=arguments.threads, flash_attn=arguments.flash_attention, verbose=False)
    context, vocabulary = model.ctx, model.n_vocab()
    tokens = (llama_cpp.llama_token * arguments.tokens)(*(i * 7919 % vocabulary for i in range(arguments.tokens)))

    def run():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        start = time.perf_counter()
        step = 1 if arguments.mode == "decode" else 512
        for first in range(0, arguments.tokens, step):
            count = min(step, arguments.tokens - first)
            part = ctypes.cast(ctypes.byref(tokens, 4 * first), ctypes.POINTER(llama_cpp.llama_token))
            if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(part, count)) != 0:
                raise SystemExit("llama_decode failed.")
            llama_cpp.llama_get_logits_ith(context, -1)
        return time.perf_counter() - start

    run()
    seconds = statistics.median(run() for _ in range(7))
    print(json.dumps({"model": path.name, "mode": arguments.mode, "tokens": arguments.tokens, "threads": arguments.threads,
                      "tokens_per_second": arguments.tokens / seconds}))


if __name__ == "__main__":
    main()
