"""Checkpoints of MiniMind-V's versions, without their towers, against twins of the three in PyTorch: logits and greedy text of what they
become, the way back, and what `transformers` makes of the directories."""

import json
import os

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import PIL.Image  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
from serving import Server  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402
import transformers  # noqa: E402
from test_sight import close, randomize  # noqa: E402
from test_sight_use import ask  # noqa: E402

WIDTH, LAYERS, INNER, TOWER_WIDTH = 64, 2, 96, 24
TOWER = dict(hidden_size=TOWER_WIDTH, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2)
MODERN = dict(embedding="model.embed_tokens", output="lm_head", norm="model.norm", layer="model.layers.{}.", norm1="input_layernorm",
              norm2="post_attention_layernorm", query="self_attn.q_proj", key="self_attn.k_proj", value="self_attn.v_proj",
              out="self_attn.o_proj", gate="mlp.gate_proj", up="mlp.up_proj", down="mlp.down_proj")
#: The versions by what tells them apart. A picture has as many rows as in the real ones, of smaller pictures.
VERSIONS = {
    "v1": dict(
        names=dict(embedding="tok_embeddings", output="output", norm="norm", layer="layers.{}.", norm1="attention_norm",
                   norm2="ffn_norm", query="attention.wq", key="attention.wk", value="attention.wv", out="attention.wo",
                   gate="feed_forward.w1", up="feed_forward.w3", down="feed_forward.w2"),
        heads=16, groups=8, theta=1e4, epsilon=1e-5, interleaved=True, dtype=torch.float32, tower="clip", side=28, patch=4, skipped=0,
        rows=50, placeholder=[30] * 25 + [32] * 25),
    "MiniMind2-V": dict(
        names=MODERN, heads=8, groups=2, theta=1e6, epsilon=1e-5, interleaved=False, dtype=torch.float32, tower="clip", side=28, patch=2,
        skipped=1, rows=196, placeholder=[34] * 196),
    "2026": dict(
        names=MODERN | dict(query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"), heads=8, groups=4, theta=1e6, epsilon=1e-6,
        interleaved=False, dtype=torch.float16, tower="siglip", side=16, patch=2, skipped=0, rows=64, placeholder=[12] * 64),
}


class Twin:
    """A vision model of one version, by its facts: weights under the names of its state_dict, and a tower of `transformers`."""

    def __init__(self, version, vocabulary, tower, seed=5):
        self.version, self.tower = version, tower
        generator = torch.Generator().manual_seed(seed)
        names, head = version["names"], WIDTH // version["heads"]
        shapes = {names["embedding"] + ".weight": (vocabulary, WIDTH), names["norm"] + ".weight": (WIDTH,)}
        for number in range(LAYERS):
            layer = names["layer"].format(number)
            keys = head * version["groups"]
            parts = dict(norm1=(WIDTH,), norm2=(WIDTH,), query=(WIDTH, WIDTH), key=(keys, WIDTH), value=(keys, WIDTH), out=(WIDTH, WIDTH),
                         gate=(INNER, WIDTH), up=(INNER, WIDTH), down=(WIDTH, INNER), query_norm=(head,), key_norm=(head,))
            shapes |= {f"{layer}{names[part]}.weight": shape for part, shape in parts.items() if part in names}
        if version["tower"] == "siglip":
            sizes = {0: (TOWER_WIDTH,), 1: (WIDTH, TOWER_WIDTH), 3: (WIDTH, WIDTH)}
            shapes |= {f"vision_proj.mlp.{part}.weight": size for part, size in sizes.items()}
            shapes |= {f"vision_proj.mlp.{part}.bias": size[:1] for part, size in sizes.items()}
        else:
            shapes |= {"vision_proj.vision_proj.0.weight": (WIDTH, TOWER_WIDTH), "vision_proj.vision_proj.0.bias": (WIDTH,)}
        self.state = {
            name: ((1.0 if len(shape) == 1 and name.endswith("weight") else 0.0) + 0.2 * torch.randn(shape, generator=generator)
                   ).to(version["dtype"]) for name, shape in shapes.items()}
        self.state[names["output"] + ".weight"] = self.state[names["embedding"] + ".weight"]

    def weight(self, name, suffix=".weight"):
        return self.state[name + suffix].float()

    def project(self, pixels):
        """[pictures, 3, side, side] to [pictures, rows, width]."""
        rows = self.tower(pixel_values=pixels).last_hidden_state[:, self.version["skipped"]:]
        if self.version["tower"] == "clip":
            return functional.linear(rows, *(self.weight("vision_proj.vision_proj.0", end) for end in (".weight", ".bias")))
        norm, first, second = ([self.weight(f"vision_proj.mlp.{part}", end) for end in (".weight", ".bias")] for part in (0, 1, 3))
        return functional.linear(functional.gelu(functional.linear(
            functional.layer_norm(rows, (TOWER_WIDTH,), *norm, eps=1e-5), *first)), *second)

    def turned(self, x):
        """x [heads, tokens, size] with rotary embedding: neighbours as pairs in v1, halves later."""
        tokens, size = x.shape[1:]
        angles = torch.outer(torch.arange(tokens), self.version["theta"] ** (-torch.arange(0, size, 2) / size))
        pairs = x.unflatten(-1, (-1, 2)).unbind(-1) if self.version["interleaved"] else x.unflatten(-1, (2, -1)).unbind(-2)
        real = pairs[0] * angles.cos() - pairs[1] * angles.sin()
        imaginary = pairs[0] * angles.sin() + pairs[1] * angles.cos()
        return torch.stack((real, imaginary), -1 if self.version["interleaved"] else -2).flatten(-2)

    def logits(self, tokens, pictures):
        """Of all tokens. Each place where the placeholder stands whole takes the rows of the next picture."""
        version, names, place = self.version, self.version["names"], self.version["placeholder"]
        x, head, at = self.weight(names["embedding"])[tokens], WIDTH // version["heads"], 0
        for rows in pictures:
            at = next(start for start in range(at, len(tokens)) if tokens[start:start + len(place)] == place)
            x[at:at + len(place)] = rows
            at += len(place)

        def norm(x, name):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + version["epsilon"]) * self.weight(name)

        for number in range(LAYERS):
            part = {key: names["layer"].format(number) + name for key, name in names.items()}
            h = norm(x, part["norm1"])
            q, k, v = ((h @ self.weight(part[name]).T).unflatten(-1, (-1, head)).transpose(0, 1) for name in ("query", "key", "value"))
            if "query_norm" in names:
                q, k = norm(q, part["query_norm"]), norm(k, part["key_norm"])
            k, v = (each.repeat_interleave(version["heads"] // version["groups"], 0) for each in (self.turned(k), v))
            h = functional.scaled_dot_product_attention(self.turned(q), k, v, is_causal=True)
            x = x + h.transpose(0, 1).flatten(1) @ self.weight(part["out"]).T
            h = norm(x, part["norm2"])
            x = x + (functional.silu(h @ self.weight(part["gate"]).T) * (h @ self.weight(part["up"]).T)) @ self.weight(part["down"]).T
        return norm(x, names["norm"]) @ self.weight(names["output"]).T

    def greedy(self, tokens, pictures, count, end=2):
        written = []
        while len(written) < count:
            written.append(int(self.logits(tokens + written, pictures)[-1].argmax()))
            if written[-1] == end:
                return written[:-1]
        return written


class Case:
    """A version's twin, its tower's directory, its checkpoint, and the model directory that the checkpoint becomes."""

    def __init__(self, name, minimind, folder, tokenizer):
        self.name, self.version, self.folder, self.tokenizer = name, VERSIONS[name], folder, tokenizer
        self.file = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        sizes = TOWER | dict(image_size=self.version["side"], patch_size=self.version["patch"])
        side = self.version["side"]
        if name == "v1":
            # It loads a whole CLIP.
            whole = randomize(transformers.CLIPModel(transformers.CLIPConfig(
                text_config=dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=30),
                vision_config=sizes, projection_dim=8)))
            tower, saved = whole.vision_model, whole
        elif self.version["tower"] == "clip":
            tower = saved = randomize(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, projection_dim=8)))
        else:
            tower = saved = randomize(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**sizes)))
        saved.save_pretrained(folder / "tower")
        if self.version["tower"] == "clip":
            self.mean, self.deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
            settings = dict(image_processor_type="CLIPImageProcessor", do_resize=True, size={"shortest_edge": side}, resample=3,
                            do_center_crop=True, crop_size={"height": side, "width": side}, do_rescale=True, do_normalize=True)
        else:
            self.mean, self.deviation = [0.5] * 3, [0.5] * 3
            settings = dict(image_processor_type="SiglipImageProcessor", do_resize=True, size={"height": side, "width": side}, resample=3)
        (folder / "tower/preprocessor_config.json").write_text(
            json.dumps(settings | dict(image_mean=self.mean, image_std=self.deviation)))
        self.twin = Twin(self.version, self.file.get_vocab_size(), tower)
        self.checkpoint, self.model = folder / f"sft_vlm_{WIDTH}.pth", folder / "model"
        torch.save(self.twin.state, self.checkpoint)
        self.report = minimind("convert", "--from", self.checkpoint, "--to", self.model, "--tower", folder / "tower",
                               "--tokenizer", tokenizer).stdout
        random = numpy.random.RandomState(3)
        # v1 stretches every picture; those of the others have the tower's size already.
        shape = (41, 27, 3) if name == "v1" else (side, side, 3)
        self.pictures = [folder / f"{number}.png" for number in range(2)]
        for picture in self.pictures:
            PIL.Image.fromarray(random.randint(0, 255, shape).astype(numpy.uint8)).save(picture)

    def pixels(self):
        side = self.version["side"]
        stretched = [numpy.asarray(PIL.Image.open(picture).resize((side, side), PIL.Image.BICUBIC)) for picture in self.pictures]
        scaled = (numpy.stack(stretched) / 255 - self.mean) / self.deviation
        return torch.from_numpy(scaled.transpose(0, 3, 1, 2)).float().contiguous()

    def ids(self, *parts):
        """Tokens of texts, with placeholders for None."""
        ids = [1]
        for part in parts:
            ids += self.version["placeholder"] if part is None else self.file.encode(part, add_special_tokens=False).ids
        return ids


@pytest.fixture(scope="module", params=VERSIONS)
def case(request, minimind, tokenizer_directory, tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("version"), tokenizer_directory
    if request.param == "2026":
        text = folder / "text.txt"
        text.write_text("Two pictures, one with a square and one with a circle. What differs? 你好。\n" * 4, encoding="utf-8")
        tokenizer = folder / "tokenizer"
        minimind("tokenizer", "train", "--input", text, "--output", tokenizer, "--vocab-size", 340, "--template", "minimind-3")
    with torch.no_grad():
        yield Case(request.param, minimind, folder, tokenizer)


def test_logits_and_greedy_text_are_the_version_s(probe, minimind, case, tmp_path):
    tokens = case.ids(None, "\nWhat is ", None, " then?")
    pixels, rows = case.pixels(), len(case.version["placeholder"])
    pictures = case.twin.project(pixels)
    assert pictures.shape[1] == rows == case.version["rows"]
    expected = case.twin.logits(tokens, pictures)
    places = [1, len(case.ids(None, "\nWhat is "))]
    (tmp_path / "case.json").write_text(json.dumps({
        "tokens": tokens, "pictures": [{"at": at, "pixels": values} for at, values in zip(places, pixels.flatten(1).tolist())]}))
    probe("sight", case.model, tmp_path / "case.json", tmp_path / "out.safetensors")
    found = safetensors.load_file(tmp_path / "out.safetensors")
    close(found["logits"], expected.numpy(), "logits")
    close(found["logits_by_encoder"], expected.numpy(), "logits by way of an encoder")

    result = json.loads(minimind(
        "generate", "--model", case.model, "--prompt", "<image>\nWhat is <image> then?", "--image", case.pictures[0], "--image",
        case.pictures[1], "--temperature", 0, "--max-tokens", 16, "--type", "fp32", "--json").stdout)
    assert result["prompt_tokens"] == len(tokens)
    assert result["text"] == case.file.decode(case.twin.greedy(tokens, pictures, 16))


def test_the_way_back_is_exact(minimind, case, tmp_path):
    report = minimind("convert", "--from", case.model, "--to", tmp_path / "again.pth", "--type",
                      "fp16" if case.version["dtype"] == torch.float16 else "fp32").stdout
    tower = {name: array for name, array in safetensors.load_file(case.model / "model.safetensors").items() if "vision_tower." in name}
    assert f"without the {sum(array.size for array in tower.values())} numbers of the tower" in report
    ours, theirs = torch.load(tmp_path / "again.pth", weights_only=True), case.twin.state
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]), name
    # The tower of a model that sees is as good as one of its own.
    minimind("convert", "--from", tmp_path / "again.pth", "--to", tmp_path / "model", "--tower", case.model, "--tokenizer", case.tokenizer)
    again, first = (safetensors.load_file(folder / "model.safetensors") for folder in (tmp_path / "model", case.model))
    assert again.keys() == first.keys() and all(numpy.array_equal(again[name], first[name]) for name in first)
    assert (tmp_path / "model/config.json").read_text() == (case.model / "config.json").read_text()


def test_transformers_computes_the_same(minimind, case):
    tokens, pixels = case.ids(None, "\nWhat is ", None, " then?"), case.pixels()
    expected = case.twin.logits(tokens, case.twin.project(pixels))
    # One token in all places of a picture, whose embedding is not used.
    first = case.version["placeholder"][0]
    ids = torch.tensor([[first if token in case.version["placeholder"] else token for token in tokens]])
    model = transformers.AutoModelForImageTextToText.from_pretrained(case.model, dtype=torch.float32).eval()
    inputs = dict(pixel_values=pixels)
    if case.name == "2026":
        assert type(model).__name__ == "Lfm2VlForConditionalGeneration"
        patch, side = case.version["patch"], case.version["side"] // case.version["patch"]
        patches = pixels.reshape(2, 3, side, patch, side, patch).permute(0, 2, 4, 3, 5, 1).reshape(2, side * side, -1)
        inputs = dict(pixel_values=patches, spatial_shapes=torch.tensor([[side, side]] * 2),
                      pixel_attention_mask=torch.ones(2, side * side, dtype=torch.int64))
    else:
        assert type(model).__name__ == "LlavaForConditionalGeneration"
    close(model(input_ids=ids, **inputs).logits[0].numpy(), expected.numpy(), "logits of transformers")
    # What transformers saves is read as the same model.
    model.save_pretrained(case.folder / "saved")
    minimind("convert", "--from", case.folder / "saved", "--to", case.folder / "read")
    read, written = (safetensors.load_file(folder / "model.safetensors") for folder in (case.folder / "read", case.model))
    assert read.keys() == written.keys() and all(numpy.array_equal(read[name], written[name]) for name in read)


def test_data_training_and_the_server_have_the_version_s_placeholder(binary, minimind, case, tmp_path):
    rows = [{"image": picture.name, "conversations": [
        {"role": "user", "content": "<image>\nWhat is it?"}, {"role": "assistant", "content": f"Picture {number}."}]}
        for number, picture in enumerate(case.pictures)]
    (case.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    minimind("data", "sft", "--input", case.folder / "rows.jsonl", "--tokenizer", case.tokenizer, "--sight", case.model,
             "--output", tmp_path / "data")
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert manifest["pictures"]["placeholder"] == case.version["placeholder"] and manifest["pictures"]["count"] == 2
    minimind("sft", "--from", case.model, "--data", tmp_path / "data", "--steps", 2, "--sequence-length", 512, "--batch-tokens", 512,
             "--output", tmp_path / "run")
    before, after = (safetensors.load_file(folder / "model.safetensors") for folder in (case.model, tmp_path / "run/model"))
    changed = {name for name in before if not numpy.array_equal(before[name], after[name])}
    assert any("multi_modal_projector.linear_1" in name for name in changed) and not any("vision_tower" in name for name in changed)
    with Server(binary, case.model, "--type", "fp32") as server:
        text = ask(server, case.pictures[0])[0]
    chat = minimind("chat", "--model", case.model, "--temperature", 0, "--repetition-penalty", 1, "--max-tokens", 12, "--type", "fp32",
                    input=f"/image {case.pictures[0]}\nWhat is it?\n").stdout
    assert chat.rstrip("\n") == text.rstrip("\n")


def test_what_does_not_fit_is_refused_by_name(minimind, case, tmp_path):
    def refused(*arguments):
        completed = minimind("convert", *arguments, "--to", tmp_path / "out.pth", check=False)
        assert completed.returncode != 0 and not (tmp_path / "out.pth").exists()
        return completed.stderr

    hf = ("--format", "hf")
    assert "give it by --tower" in refused("--from", case.checkpoint, *hf)
    assert "go with a .pth" in refused("--from", case.model, "--tower", case.folder / "tower")
    text = {name: weight for name, weight in case.twin.state.items() if not name.startswith("vision_proj.")}
    torch.save(text, tmp_path / "text.pth")
    assert "leave out --tower" in refused("--from", tmp_path / "text.pth", "--tower", case.folder / "tower", *hf)
    # A tower with other patches gives other rows, and the projector would fit it; one of the other kind gives other values.
    sizes = TOWER | dict(image_size=case.version["side"] // 2, patch_size=case.version["patch"])
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, projection_dim=8)).save_pretrained(tmp_path / "clip")
    transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**sizes)).save_pretrained(tmp_path / "siglip")
    for kind in ("clip", "siglip"):
        fault = f"but {case.version['rows']}" if kind == case.version["tower"] else "tower, but one of"
        assert fault in refused("--from", case.checkpoint, "--tower", tmp_path / kind, *hf)
    damaged = dict(case.twin.state)
    projector = next(name for name in damaged if name.startswith("vision_proj.") and name.endswith(".weight"))
    damaged[projector] = damaged[projector][..., :-1].clone()
    torch.save(damaged, tmp_path / "damaged.pth")
    assert "Check --tower" in refused("--from", tmp_path / "damaged.pth", "--tower", case.folder / "tower", *hf)
    config = json.loads((case.model / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for file in case.model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    for key in ("image_token_ids", "image_token_index", "image_token_id"):
        if key in config:
            (other / "config.json").write_text(json.dumps(config | {key: [31, 33] if key.endswith("s") else 40}))
            break
    assert "a picture's place at the tokens" in refused("--from", other)
