"""Towers, and models that see, against `transformers`: hidden states, logits and every gradient, both ways between directories."""

import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import PIL.Image  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

TOWER = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, image_size=13, patch_size=4)
TEXT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
            vocab_size=60, max_position_embeddings=64)
IMAGE = 7


def towers(kind):
    """The configuration of a random tower and its class."""
    if kind == "clip":
        return transformers.CLIPVisionConfig(**TOWER, projection_dim=8), transformers.CLIPVisionModel
    return transformers.SiglipVisionConfig(**TOWER, vision_use_head=kind == "siglip with a head"), transformers.SiglipVisionModel


def randomize(model, seed=0):
    """Weights that are far from their beginnings, so that every term shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            start = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            weight.copy_(start + 0.2 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def random_pixels(count, seed=1):
    return torch.randn((count, 3, 13, 13), generator=torch.Generator().manual_seed(seed))


def close(found, expected, what):
    """Within 1e-4 of the largest value, and of 1."""
    difference = numpy.abs(found.astype(numpy.float64) - expected.astype(numpy.float64)).max()
    assert difference <= 1e-4 * max(1.0, numpy.abs(expected).max()), (what, difference)


def on_disk(name):
    """The name that a weight of `transformers` in memory has here."""
    name = name.removeprefix("model.")
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        name = name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name.replace("language_model.", "model.", 1) if name.startswith("language_model.") else name


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip with a head", "whole clip", "whole siglip"])
def test_a_tower(probe, tmp_path, kind):
    config, model_class = towers(kind.removeprefix("whole "))
    model = randomize(model_class(config))
    saved = model
    if kind == "whole clip":
        text = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=30)
        saved = randomize(transformers.CLIPModel(transformers.CLIPConfig(
            text_config=text, vision_config=config.to_dict(), projection_dim=8)))
    elif kind == "whole siglip":
        text = dict(hidden_size=24, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=30)
        saved = randomize(transformers.SiglipModel(transformers.SiglipConfig(
            text_config=text, vision_config=config.to_dict() | {"vision_use_head": True})))
    if saved is not model:
        weights = {name.removeprefix("vision_model."): weight for name, weight in saved.state_dict().items()
                   if name.startswith("vision_model.")}
        own = {name.removeprefix("vision_model."): name for name in model.state_dict()}
        model.load_state_dict({own[name]: weight for name, weight in weights.items() if name in own})
    saved.save_pretrained(tmp_path / "tower")
    pixels = random_pixels(3)
    state = model(pixel_values=pixels).last_hidden_state
    slopes = torch.randn(state.shape, generator=torch.Generator().manual_seed(2))
    (state * slopes).sum().backward()
    case = {"pictures": pixels.flatten(1).tolist(), "slopes": slopes.flatten().tolist()}
    (tmp_path / "case.json").write_text(json.dumps(case))
    probe("tower", tmp_path / "tower", tmp_path / "case.json", tmp_path / "out.safetensors")
    found = safetensors.load_file(tmp_path / "out.safetensors")
    close(found["last_hidden_state"], state.detach().numpy(), "last_hidden_state")
    compared = 0
    for name, weight in model.named_parameters():
        if weight.grad is None:
            continue
        name = "vision_tower.vision_model." + name.removeprefix("vision_model.")
        close(found[name], weight.grad.numpy(), name)
        compared += 1
    assert compared > 40


def llava(kind, text, strategy, layer, act):
    config, _ = towers(kind)
    text_class = transformers.LlamaConfig if text == "llama" else transformers.Qwen3Config
    return randomize(transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=config, text_config=text_class(**TEXT, tie_word_embeddings=text == "llama"), image_token_index=IMAGE,
        projector_hidden_act=act, vision_feature_select_strategy=strategy, vision_feature_layer=layer,
        image_seq_length=9, tie_word_embeddings=text == "llama")))


CASES = [("clip", "llama", "default", -2, "gelu"), ("clip", "qwen3", "full", -1, "quick_gelu"),
         ("siglip", "llama", "full", -2, "gelu_pytorch_tanh"), ("siglip with a head", "qwen3", "full", 1, "gelu")]


@pytest.mark.parametrize("kind, text, strategy, layer, act", CASES)
def test_a_model_that_sees(probe, minimind, tmp_path, kind, text, strategy, layer, act):
    model = llava(kind, text, strategy, layer, act)
    model.save_pretrained(tmp_path / "model")
    rows = 10 if kind == "clip" and strategy == "full" else 9
    before, between, after = [1, 20, 21], [22, 23], [24, 25, 26, 27]
    tokens = before + [IMAGE] * rows + between + [IMAGE] * rows + after
    pixels = random_pixels(2)
    ids = torch.tensor([tokens])
    output = model(input_ids=ids, pixel_values=pixels)
    targets = ids[0, 1:]
    loss = torch.nn.functional.cross_entropy(output.logits[0, :-1], targets)
    loss.backward()

    places = [len(before), len(before) + rows + len(between)]
    case = {"tokens": tokens,
            "pictures": [{"at": at, "pixels": values} for at, values in zip(places, pixels.flatten(1).tolist())]}
    (tmp_path / "case.json").write_text(json.dumps(case))
    probe("sight", tmp_path / "model", tmp_path / "case.json", tmp_path / "out.safetensors")
    found = safetensors.load_file(tmp_path / "out.safetensors")
    expected = output.logits[0].detach().numpy()
    close(found["logits"], expected, "logits")
    close(found["logits_by_encoder"], expected, "logits by way of an encoder")
    assert abs(found["loss"][0] - loss.item()) < 1e-4
    compared = 0
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            close(found[on_disk(name)], weight.grad.numpy(), name)
            compared += 1
    assert compared > 40

    # What is written is read by transformers as the same model.
    minimind("convert", "--from", tmp_path / "model", "--to", tmp_path / "written")
    again = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path / "written").eval()
    logits = again(input_ids=ids, pixel_values=pixels).logits[0].detach().numpy()
    assert numpy.array_equal(logits, expected)
    parts = minimind("info", tmp_path / "written").stdout
    assert "projector" in parts and "vision tower" in parts


def test_generate_answers_about_pictures_as_transformers_does(minimind, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Two pictures, one with a square and one with a circle. What differs? 你好。\n" * 4, encoding="utf-8")
    minimind("tokenizer", "train", "--input", text, "--output", tmp_path / "tokenizer", "--vocab-size", 340,
             "--template", "minimind-3")
    vision, _ = towers("siglip")
    model = randomize(transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=vision, text_config=transformers.LlamaConfig(
            **TEXT | {"vocab_size": 340}, tie_word_embeddings=True, bos_token_id=None, eos_token_id=2),
        image_token_index=12, vision_feature_select_strategy="full", tie_word_embeddings=True)))
    model.save_pretrained(tmp_path / "plain")
    for file in (tmp_path / "tokenizer").iterdir():
        (tmp_path / "plain" / file.name).write_bytes(file.read_bytes())
    directory = tmp_path / "model"
    minimind("convert", "--from", tmp_path / "plain", "--to", directory)
    random = numpy.random.RandomState(3)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.png")
        PIL.Image.fromarray(random.randint(0, 255, (20, 31, 3)).astype(numpy.uint8)).save(files[-1])
    prompt = "A <image> and <image>: what differs?"
    arguments = ["generate", "--model", directory, "--prompt", prompt, "--image", files[0], "--image", files[1],
                 "--temperature", 0, "--max-tokens", 12, "--type", "fp32"]
    result = json.loads(minimind(*arguments, "--json").stdout)

    # Its own processor is what transformers makes of the directory.
    processor = transformers.AutoProcessor.from_pretrained(directory)
    assert type(processor).__name__ == "LlavaProcessor" and processor.image_token == "<|image_pad|>"
    inputs = processor(text=processor.tokenizer.bos_token + prompt.replace("<image>", "<|image_pad|>"),
                       images=[PIL.Image.open(file) for file in files], return_tensors="pt", add_special_tokens=False)
    assert inputs["input_ids"].shape[1] == result["prompt_tokens"]
    again = transformers.LlavaForConditionalGeneration.from_pretrained(directory).eval()
    with torch.no_grad():
        answer = again.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1]:]
    assert result["text"] == processor.tokenizer.decode(answer, skip_special_tokens=True)

    # The pictures' order matters: the same dice fall otherwise.
    dice = ["--temperature", 2, "--top-k", 0, "--seed", 5, "--max-tokens", 40, "--type", "fp32"]
    assert (minimind(*arguments[:9], *dice).stdout
            != minimind(*arguments[:5], "--image", files[1], "--image", files[0], *dice).stdout)
    # Without marks the pictures come first.
    first = minimind(*arguments[:3], "--prompt", "what?", *arguments[5:]).stdout
    assert first == minimind(*arguments[:3], "--prompt", "<image>\n<image>\nwhat?", *arguments[5:]).stdout
    assert "1 picture" in minimind(*arguments[:7], *arguments[9:], check=False).stderr
    assert "is text, not a picture" in minimind(*arguments[:6], text, *arguments[7:], check=False).stderr
    blind = minimind("generate", "--model", tmp_path / "tokenizer", "--image", files[0], "--prompt", "a", check=False)
    assert blind.returncode != 0
