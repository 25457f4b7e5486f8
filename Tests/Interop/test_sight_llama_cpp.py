"""A model that sees as two GGUF files in llama.cpp's server (`make peers`): greedy text and log-probabilities about square pictures of the
tower's size. Others are brought to it in another way there: with margins, and bilinear."""

import base64
import http.client
import json
import os
from pathlib import Path
import socket
import struct
import subprocess
import sys
import zlib

import pytest

pytestmark = pytest.mark.peers

import numpy as np  # noqa: E402
from conftest import PATIENCE, VOCABULARY, wait_until  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

LLAMA_SERVER = Path(sys.prefix) / "llama.cpp/build/bin/llama-server"
SIDE, IMAGE = 32, 5
CONFIG = {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": IMAGE, "vision_feature_layer": -2,
    "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True,
    "text_config": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": VOCABULARY, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 1,
        "eos_token_id": 2},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
                      "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}}
PROMPT = "A <image> and <image>: what differs?"


def png(pixels):
    """The file of a picture, [side, side, 3]."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def model(probe, tokenizer_directory, tmp_path_factory):
    """A directory whose every weight matters, biases too, and two pictures."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    probe("create", folder / "config.json", 3, "float32", tokenizer_directory, folder / "model")
    path, random = folder / "model/model.safetensors", np.random.default_rng(4)

    def changed(name, array):
        if array.ndim == 1:
            return array + random.normal(0, 0.2, array.shape)
        return array * 6 if name.startswith("language_model") else random.normal(0, 0.25, array.shape)

    save_file({name: changed(name, array).astype(np.float32) for name, array in load_file(path).items()}, path, metadata={"format": "pt"})
    pictures = [random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(2)]
    for number, picture in enumerate(pictures):
        (folder / f"{number}.png").write_bytes(png(picture))
    return folder / "model", pictures


class LlamaServer:
    """llama.cpp's own server with both files, until the end of the `with` block."""

    def __init__(self, model, projector):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Keys, values and attention in fp32, as ours.
        arguments = ["--model", model, "--mmproj", projector, "--port", self.port, "--ctx-size", 256, "--threads", 2, "--cache-type-k", "f32",
                     "--cache-type-v", "f32", "--flash-attn", "off", "--parallel", 1, "--no-warmup"]
        self.process = subprocess.Popen(
            [str(part) for part in (LLAMA_SERVER, *arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, env=os.environ | {"LLAMA_MEDIA_MARKER": "<__media__>"})

    def request(self, method, path, fields=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, json.dumps(fields) if fields else None, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def __enter__(self):
        wait_until(lambda: self.request("GET", "/health")[0] == 200, "llama-server does not answer", self.process)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def greedy(self, files, count):
        """The tokens that follow the prompt with these pictures, and their log-probabilities."""
        status, reply = self.request("POST", "/completion", {
            # `generate` begins each text so; the tokenizer's file does not ask llama.cpp for it.
            "prompt": {"prompt_string": "<s>" + PROMPT.replace("<image>", "<__media__>"),
                       "multimodal_data": [base64.b64encode(file.read_bytes()).decode() for file in files]},
            "temperature": 0, "top_k": 1, "n_predict": count, "n_probs": 1, "ignore_eos": False, "cache_prompt": False})
        assert status == 200, reply
        tokens = reply["completion_probabilities"]
        return reply["content"], [token["id"] for token in tokens], [token["logprob"] for token in tokens]


def our_log_probabilities(probe, folder, directory, pictures, written):
    """Of tokens that follow the prompt."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    rows = (SIDE // 8) ** 2
    texts = [tokenizer.encode(text, add_special_tokens=False).ids for text in PROMPT.split("<image>")]
    tokens, places = [1], []
    for number, text in enumerate(texts):
        tokens += text
        if number < len(pictures):
            places.append(len(tokens))
            tokens += [IMAGE] * rows
    values = [((picture / 255 - 0.5) / 0.5).transpose(2, 0, 1).ravel().tolist() for picture in pictures]
    (folder / "case.json").write_text(json.dumps({
        "tokens": tokens + written, "pictures": [{"at": at, "pixels": pixels} for at, pixels in zip(places, values)]}))
    probe("sight", directory, folder / "case.json", folder / "out.safetensors")
    logits = load_file(folder / "out.safetensors")["logits"][len(tokens) - 1:-1].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(len(written)), written]


#: What rounding may do to a log-probability. llama.cpp takes GELU from a table in fp16, and multiplies in the type of the weights.
TOLERANCES = {"fp32": 5e-3, "fp16": 2e-2, "bf16": 8e-2}


@pytest.mark.parametrize("encoding", TOLERANCES)
def test_greedy_text_about_pictures_is_ours(minimind, probe, model, tmp_path, encoding):
    directory, pictures = model
    files = [directory.parent / f"{number}.png" for number in range(2)]
    report = minimind("convert", "--from", directory, "--to", tmp_path / "m.gguf", "--type", encoding).stdout
    assert str(tmp_path / "mmproj-m.gguf") in report
    with LlamaServer(tmp_path / "m.gguf", tmp_path / "mmproj-m.gguf") as server:
        text, tokens, theirs = server.greedy(files, 24)
        _, _, swapped = server.greedy(files[::-1], 24)
    ours = our_log_probabilities(probe, tmp_path, directory, pictures, tokens)
    print(f"{encoding}: log-probabilities differ by at most {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() < TOLERANCES[encoding]
    assert abs(theirs[0] - swapped[0]) > 10 * TOLERANCES["fp32"], "the pictures change nothing"
    if encoding == "fp32":
        answer = minimind("generate", "--model", directory, "--prompt", PROMPT, "--image", files[0], "--image", files[1], "--temperature",
                          0, "--max-tokens", 24, "--type", "fp32", "--json").stdout
        assert json.loads(answer)["text"] == text


def test_types_of_few_bits_keep_the_tower_in_16(minimind, model, tmp_path):
    directory, _ = model
    report = minimind("convert", "--from", directory, "--to", tmp_path / "m.gguf", "--type", "q8").stdout
    assert "tower and projector as fp16" in report
    with LlamaServer(tmp_path / "m.gguf", tmp_path / "mmproj-m.gguf") as server:
        assert server.greedy([directory.parent / f"{number}.png" for number in range(2)], 4)[1]


@pytest.mark.parametrize("setting, fault", [
    (("projector_hidden_act", "quick_gelu"), "quick_gelu"), (("projector_hidden_act", "linear"), "two matrices"),
    (("vision_config", CONFIG["vision_config"] | {"model_type": "clip_vision_model"}), "CLIP tower"),
    (("vision_config", CONFIG["vision_config"] | {"intermediate_size": 32}), "takes the two matrices for each other"),
    (("vision_config", CONFIG["vision_config"] | {"image_size": 35}), "patches do not cover")])
def test_what_llama_cpp_would_compute_otherwise_is_refused(minimind, probe, tokenizer_directory, tmp_path, setting, fault):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | dict([setting])))
    probe("create", tmp_path / "config.json", 3, "float32", tokenizer_directory, tmp_path / "model")
    refused = minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "m.gguf", check=False)
    assert refused.returncode == 1 and fault in refused.stderr
    assert not list(tmp_path.glob("*m.gguf")) and fault in minimind("info", tmp_path / "model").stdout
