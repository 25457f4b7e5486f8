#!/usr/bin/env python3
"""Races the tower of CLIP B/16 against `transformers` with `torch.compile` in bf16, and measures the first token of a question with a
picture: `small` with that tower, random weights, `minimind serve`.

    .venv-interop/bin/python scripts/bench_pictures.py [--rounds 7]

In turns: the server answers a question about a picture that it has not seen, of which `/metrics` has the seconds of the encoder (from
pixels to the language model's rows), and torch encodes one picture of the same size (without a projector). Prints the medians, the
median of the rounds' ratios, the time from the request to the first token of the stream, and the server's memory.
"""

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "Tests/Interop"))
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import PIL.Image  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from conftest import memory_so_far  # noqa: E402
from serving import Server  # noqa: E402


def model_that_sees(minimind, language, folder):
    """`language` with a tower of CLIP B/16 and a projector, both with random weights: a step at a rate of almost nothing."""
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(patch_size=16)).save_pretrained(folder / "tower")
    (folder / "text.jsonl").write_text(json.dumps({"text": "What is it? A square, red or blue."}) + "\n")
    tokenizer = folder / "tokenizer"
    subprocess.run([minimind, "tokenizer", "train", "--input", folder / "text.jsonl", "--output", tokenizer, "--vocab-size", "300",
                    "--template", "minimind-3"], check=True, capture_output=True)
    subprocess.run([minimind, "data", "pretrain", "--input", folder / "text.jsonl", "--tokenizer", tokenizer, "--held-out", "0",
                    "--output", folder / "data"], check=True, capture_output=True)
    subprocess.run([minimind, "pretrain", "--model", language, "--tower", folder / "tower", "--data", folder / "data", "--steps", "1",
                    "--learning-rate", "1e-9", "--output", folder / "run"], check=True, capture_output=True)
    return folder / "run"


def picture(number):
    """A PNG of noise as large as the tower's view, as a data: URL."""
    pixels = numpy.random.RandomState(number).randint(0, 255, (224, 224, 3)).astype(numpy.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def ask(port, url):
    """Seconds to the first token of an answer."""
    body = json.dumps({"model": "m", "stream": True, "max_tokens": 4, "temperature": 0, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]}]})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    start = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    while True:
        line = response.readline()
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            break
        assert line, "the answer has no token"
    seconds = time.monotonic() - start
    response.read()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", help="preset of the language model")
    parser.add_argument("--minimind", default=REPOSITORY / ".build/release/minimind")
    parser.add_argument("--type", default="bf16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model_that_sees(options.minimind, options.model, folder)
        theirs = torch.compile(
            transformers.CLIPVisionModel.from_pretrained(folder / "tower", dtype=torch.bfloat16).eval())
        pixels = torch.randn((1, 3, 224, 224)).bfloat16()
        print("compiling")
        with torch.inference_mode():
            for _ in range(3):
                theirs(pixel_values=pixels)
            with Server(options.minimind, model, "--type", options.type, "--threads", options.threads) as server:
                ask(server.port, picture(0))
                rows = []
                for number in range(options.rounds):
                    before = server.metric("picture_seconds_total")
                    first = ask(server.port, picture(number + 1))
                    ours = server.metric("picture_seconds_total") - before
                    start = time.monotonic()
                    theirs(pixel_values=pixels)
                    rows.append((first, ours, time.monotonic() - start))
                memory = memory_so_far(server.process.pid)
    first, ours, other = (statistics.median(column) for column in zip(*rows))
    ratios = sorted(b / a for _, a, b in rows)
    print(f"encoding        {ours:.3f} s    torch.compile {other:.3f} s")
    print(f"ratio           {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}), {options.rounds} rounds")
    print(f"first token     {first:.3f} s")
    print(f"memory          {memory / 2 ** 20:.0f} MiB")


if __name__ == "__main__":
    main()
