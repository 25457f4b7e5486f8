"""Adapters and preferences of models that see, against `peft`, `transformers` and `trl`, in fp32."""

import json
import os
import shutil

import pytest

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import numpy  # noqa: E402
import peft  # noqa: E402
import PIL.Image  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from test_dpo import METRICS, compare  # noqa: E402
from test_sight import CASES, TEXT, close, llava, on_disk, random_pixels, randomize, towers  # noqa: E402

#: What matches the layers of the language model and none of the tower's, which have the same names.
LANGUAGE = r".*\.language_model\..*\.(q_proj|v_proj|down_proj)"


def load(directory):
    return transformers.LlavaForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()


def seen_case(folder, rows, image=7):
    """A document with two pictures, as `interop-probe sight` reads it and as transformers does."""
    before, between, after = [1, 20, 21], [22, 23], [24, 25, 26, 27]
    tokens = before + [image] * rows + between + [image] * rows + after
    pixels = random_pixels(2)
    places = [len(before), len(before) + rows + len(between)]
    (folder / "case.json").write_text(json.dumps({
        "tokens": tokens,
        "pictures": [{"at": at, "pixels": values} for at, values in zip(places, pixels.flatten(1).tolist())]}))
    return folder / "case.json", dict(input_ids=torch.tensor([tokens]), pixel_values=pixels)


def random_adapter(model, folder, **settings):
    """An adapter made by `peft`, with A and B both random."""
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=5, **settings))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind, text, strategy, layer, act", CASES[:1] + CASES[2:3])
def test_an_adapter_of_peft(probe, minimind, tmp_path, kind, text, strategy, layer, act):
    llava(kind, text, strategy, layer, act).save_pretrained(tmp_path / "model")
    rows = 9
    case, inputs = seen_case(tmp_path, rows)
    model = random_adapter(load(tmp_path / "model"), tmp_path / "adapter", target_modules=LANGUAGE)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "model")
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    expected = model(**inputs).logits[0].detach().numpy()
    plain = load(tmp_path / "model")(**inputs).logits[0].detach().numpy()
    assert numpy.abs(expected - plain).max() > 0.02 * numpy.abs(plain).max(), "the adapter changes nothing"

    minimind("merge", "--adapter", tmp_path / "adapter", "--to", tmp_path / "merged")
    probe("sight", tmp_path / "merged", case, tmp_path / "merged.safetensors")
    close(safetensors.load_file(tmp_path / "merged.safetensors")["logits"], expected, "logits of the merged model")
    close(load(tmp_path / "merged")(**inputs).logits[0].detach().numpy(), expected, "the merged model in transformers")


def test_an_adapter_in_the_tower_is_refused(minimind, tmp_path):
    llava(*CASES[0]).save_pretrained(tmp_path / "model")
    for name, targets, words in (
            ("tower", ["q_proj"], "is in the vision tower or the projector"),
            ("projector", r".*multi_modal_projector\.linear_1", "is in the vision tower or the projector")):
        random_adapter(load(tmp_path / "model"), tmp_path / name, target_modules=targets)
        refused = minimind("merge", "--adapter", tmp_path / name, "--from", tmp_path / "model", "--to", tmp_path / "out", check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr


@pytest.fixture(scope="module")
def model(minimind, tmp_path_factory):
    """A model that sees with a tokenizer, and a reference whose weights differ a little."""
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "text.txt").write_text("What is it? A square. A circle, red or blue. Which one? 你好。\n" * 4, encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "tokenizer", "--vocab-size", 340,
             "--template", "minimind-3")
    vision, _ = towers("siglip")
    found = randomize(transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=vision, text_config=transformers.LlamaConfig(
            **TEXT | {"vocab_size": 340, "max_position_embeddings": 256}, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=2),
        image_token_index=12, vision_feature_select_strategy="full", tie_word_embeddings=True)))
    for name in ("model", "reference"):
        shutil.copytree(folder / "tokenizer", folder / f"plain-{name}")
        found.save_pretrained(folder / f"plain-{name}")
        minimind("convert", "--from", folder / f"plain-{name}", "--to", folder / name)
        with torch.no_grad():
            for number, weight in enumerate(found.parameters()):
                weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
    random = numpy.random.RandomState(3)
    for number in range(4):
        PIL.Image.fromarray(random.randint(0, 255, (20, 31, 3)).astype(numpy.uint8)).save(folder / f"{number}.png")
    return folder


ANSWERS = [("What is it?", "A square.", "A circle."), ("Which one?", "The red one, 你好。", "Blue"), ("A circle?", "No.", "Yes, it is.")]


def test_our_adapter_in_peft(probe, minimind, model, tmp_path):
    rows = [{"image": f"{number % 4}.png", "q": f"<image>{question} {number}", "a": answer}
            for number in range(12) for question, answer, _ in ANSWERS]
    (model / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    minimind("data", "sft", "--input", model / "questions.jsonl", "--tokenizer", model / "tokenizer", "--sight", model / "model",
             "--output", tmp_path / "data")
    minimind("lora", "--from", model / "model", "--data", tmp_path / "data", "--output", tmp_path / "run", "--steps", 8,
             "--learning-rate", 0.02, "--batch-tokens", 512, "--micro-batch-tokens", 256, "--sequence-length", 128,
             "--precision", "fp32", "--lora-rank", 4)
    case, inputs = seen_case(tmp_path, 9, image=12)
    adapted = peft.PeftModel.from_pretrained(load(model / "model"), tmp_path / "run/model", is_trainable=True).eval()
    names = [name for name, _ in adapted.named_modules() if name.endswith("lora_A")]
    assert len(names) == 2 * 7 and all("language_model" in name for name in names), names
    output = adapted(**inputs)
    loss = torch.nn.functional.cross_entropy(output.logits[0, :-1], inputs["input_ids"][0, 1:])
    loss.backward()
    plain = load(model / "model")(**inputs).logits[0].detach().numpy()
    expected = output.logits[0].detach().numpy()
    assert numpy.abs(expected - plain).max() > 0.01 * numpy.abs(plain).max(), "nothing was learned"

    probe("sight", tmp_path / "run", case, tmp_path / "out.safetensors")
    found = safetensors.load_file(tmp_path / "out.safetensors")
    close(found["logits"], expected, "logits")
    assert abs(found["loss"][0] - loss.item()) < 1e-4
    compared = 0
    for name, weight in adapted.named_parameters():
        if weight.grad is None:
            continue
        key = name.replace(".default", "").replace("model.language_model.", "model.")
        close(found[key], weight.grad.numpy(), key)
        compared += 1
    assert compared == 2 * 2 * 7


def texts(tokenizer, question, answer):
    """A prompt as text, with the placeholder where the picture is, and the answer with what ends it."""
    asked = [{"role": "user", "content": "<|image_pad|>" + question}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(asked + [{"role": "assistant", "content": answer}], tokenize=False)
    start = os.path.commonprefix([prompt, whole])
    return start, whole[len(start):]


@pytest.mark.parametrize("shape", ["sigmoid", "hinge"])
def test_preferences_are_those_of_trl(probe, minimind, model, tmp_path, shape):
    beta = 0.3
    rows = [{
        "images": [f"{number}.png"], "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
        "chosen": [{"role": "assistant", "content": chosen}], "rejected": [{"role": "assistant", "content": rejected}]}
        for number, (question, chosen, rejected) in enumerate(ANSWERS)]
    (model / "pairs.json").write_text(json.dumps(rows))
    minimind("data", "dpo", "--input", model / "pairs.json", "--tokenizer", model / "tokenizer", "--sight", model / "model",
             "--held-out", 0, "--output", tmp_path / "data")
    probe("preferences", model / "model", model / "reference", tmp_path / "data", shape, beta, "sum", tmp_path / "ours.safetensors")

    processor = transformers.AutoProcessor.from_pretrained(model / "model")
    examples = []
    for number, (question, chosen, rejected) in enumerate(ANSWERS):
        prompt, wanted = texts(processor.tokenizer, question, chosen)
        _, other = texts(processor.tokenizer, question, rejected)
        examples.append({
            "images": [PIL.Image.open(model / f"{number}.png").convert("RGB")], "prompt": prompt, "chosen": wanted, "rejected": other})
    theirs = load(model / "model")
    trainer = trl.DPOTrainer(
        theirs, load(model / "reference"), processing_class=processor, train_dataset=datasets.Dataset.from_list(examples),
        args=trl.DPOConfig(
            output_dir=tmp_path, loss_type=shape, beta=beta, bf16=False, use_cpu=True, report_to="none", max_length=None,
            gradient_checkpointing=False, disable_tqdm=True))
    compare(tmp_path / "ours.safetensors", *found_by(trainer, theirs, examples, METRICS))


@pytest.mark.parametrize("swapped", [False, True])
def test_kto_is_that_of_trl(probe, minimind, model, tmp_path, swapped):
    """Also with model and reference exchanged, of which one pair has a KL estimate above 0."""
    beta, desirable, undesirable = 0.3, 1.3, 0.7
    judged = [(question, answer, number % 2 == 0) for number, (question, *both) in enumerate(ANSWERS) for answer in both]
    rows = [{
        "images": [f"{number % 4}.png"],
        "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
        "completion": [{"role": "assistant", "content": answer}], "label": label}
        for number, (question, answer, label) in enumerate(judged)]
    (model / "judged.json").write_text(json.dumps(rows))
    minimind("data", "kto", "--input", model / "judged.json", "--tokenizer", model / "tokenizer", "--sight", model / "model",
             "--held-out", 0, "--output", tmp_path / "data")
    trained, reference = (model / name for name in (("reference", "model") if swapped else ("model", "reference")))
    probe("unpaired-preferences", trained, reference, tmp_path / "data", beta, desirable, undesirable, tmp_path / "ours.safetensors")

    processor = transformers.AutoProcessor.from_pretrained(model / "model")
    examples = []
    for number, (question, answer, label) in enumerate(judged):
        prompt, wanted = texts(processor.tokenizer, question, answer)
        image = PIL.Image.open(model / f"{number % 4}.png").convert("RGB")
        examples.append({"images": [image], "prompt": prompt, "completion": wanted, "label": label})
    theirs = load(trained)
    trainer = trl.KTOTrainer(
        theirs, load(reference), processing_class=processor, train_dataset=datasets.Dataset.from_list(examples),
        args=trl.KTOConfig(
            output_dir=tmp_path, beta=beta, desirable_weight=desirable, undesirable_weight=undesirable, bf16=False, use_cpu=True,
            report_to="none", max_length=None, gradient_checkpointing=False, disable_tqdm=True))
    names = ["kl", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"]
    compare(tmp_path / "ours.safetensors", *found_by(trainer, theirs, examples, names))


def found_by(trainer, model, examples, names):
    """trl's loss, its metrics of these names, and the gradient of every weight."""
    loss = trainer.compute_loss(model, trainer.data_collator(examples))
    loss.backward()
    metrics = trainer._metrics["eval"] | trainer._metrics["train"]
    gradients = {on_disk(name): weight.grad.numpy() for name, weight in model.named_parameters() if weight.grad is not None}
    # A bias of keys has no gradient but rounding, in the tower as anywhere: softmax does not see it.
    gradients = {name: values for name, values in gradients.items() if not name.endswith("k_proj.bias")}
    assert len(gradients) > 40
    return loss.item(), {name: metrics[name][0] for name in names}, gradients
