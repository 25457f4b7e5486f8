"""Features of a tower that does not learn, kept when data are prepared: training on them is training on the pixels, to the bit.

Held-out losses may differ in their last bits: some processors' products round a few pictures otherwise than many."""

import json
import subprocess

import pytest
from conftest import wait_until

STEPS = ("--sequence-length", 256, "--batch-tokens", 512, "--seed", 5)


@pytest.fixture(scope="module")
def folder(minimind, tmp_path_factory):
    """Scenes with captions and conversations, a tokenizer, a model that sees and another one, and one of text alone."""
    folder = tmp_path_factory.mktemp("features")
    minimind("data", "scenes", "--count", 60, "--held-out-count", 4, "--output", folder / "scenes")
    rows = [json.loads(line) for line in (folder / "scenes/captions.jsonl").read_text(encoding="utf-8").splitlines()]
    (folder / "text.txt").write_text("".join(row["text"] + "\n" for row in rows), encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--template", "minimind-3", "--vocab-size", 500,
             "--output", folder / "tokenizer")
    minimind("data", "pretrain", "--input", folder / "text.txt", "--tokenizer", folder / "tokenizer", "--output", folder / "text")
    minimind("pretrain", "--model", "tiny", "--data", folder / "text", "--steps", 1, *STEPS, "--output", folder / "language")
    prepare(minimind, folder, "new", "--picture-size", 64, "--picture-tokens", 16)
    minimind("pretrain", "--model", "tiny", "--tower", "new", "--data", folder / "new", "--steps", 1, *STEPS, "--output", folder / "first")
    prepare(minimind, folder, "given", "--picture-size", 64)
    for name, seed in (("seeing", 1), ("other", 2)):
        minimind("pretrain", "--from", folder / "language", "--tower", folder / "first/model", "--train", "everything",
                 "--data", folder / "given", "--steps", 2, *STEPS[:-1], seed, "--output", folder / name)
    prepare(minimind, folder, "pixels", "--sight", folder / "seeing")
    for kind in ("fp32", "bf16"):
        prepare(minimind, folder, kind, "--sight", folder / "seeing", "--picture-features", kind)
    return folder


def prepare(minimind, folder, name, *options):
    return minimind("data", "pretrain", "--input", folder / "scenes/captions.jsonl", "--tokenizer", folder / "tokenizer", *options,
                    "--output", folder / name)


def assert_same(run, other):
    """The weights and what each step measured but for the time are to the bit the same; held-out losses nearly so."""
    assert (run / "model/model.safetensors").read_bytes() == (other / "model/model.safetensors").read_bytes()

    def measured(run, prefix):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [value for row in rows for name, value in row.items() if name in (f"{prefix}/loss", f"{prefix}/grad_norm")]

    steps, held_out = measured(run, "train"), measured(run, "eval")
    assert len(steps) >= 4 and steps == measured(other, "train")
    assert len(held_out) >= 2 and held_out == pytest.approx(measured(other, "eval"), rel=1e-6)


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("learning", ["projector", "all-but-tower"])
def test_training_on_features_is_training_on_pixels(minimind, folder, tmp_path, kind, learning):
    manifest = json.loads((folder / kind / "manifest.json").read_text())["pictures"]
    assert manifest["features"]["type"] == kind and manifest["features"]["rows"] == 64 and manifest["features"]["hiddenSize"] == 192
    size = (folder / kind / "pictures.pictures").stat().st_size
    assert size == 64 + manifest["count"] * 64 * 192 * (4 if kind == "fp32" else 2)
    for data in ("pixels", kind):
        minimind("pretrain", "--from", folder / "seeing", "--train", learning, "--precision", kind, "--data", folder / data, "--steps", 3,
                 "--log-interval", 1, *STEPS, "--output", tmp_path / data)
    assert_same(tmp_path / "pixels", tmp_path / kind)
    # What the run has made sees with the same tower: it goes on, and the next stage begins with it.
    minimind("pretrain", "--resume", tmp_path / kind, "--steps", 4)
    minimind("pretrain", "--from", tmp_path / kind, "--train", "projector", "--data", folder / kind, "--steps", 1, *STEPS,
             "--output", tmp_path / "next")


def test_a_language_model_gets_the_tower_whose_features_were_kept(minimind, folder, tmp_path):
    tower = folder / "seeing/model"
    with_tower = ("--from", folder / "language", "--tower", tower, "--precision", "fp32", "--steps", 2, *STEPS)
    for data in ("pixels", "fp32"):
        minimind("pretrain", *with_tower, "--data", folder / data, "--output", tmp_path / data)
    assert_same(tmp_path / "pixels", tmp_path / "fp32")


def test_what_does_not_go_with_features_is_refused_by_name(minimind, folder, tmp_path):
    def refusal(*arguments, code=1):
        run = minimind(*arguments, check=False)
        assert run.returncode == code, run.stderr
        return " ".join(run.stderr.split())

    def train(model, data, *options):
        return refusal("pretrain", "--from", folder / model, "--data", data, *options, "--steps", 1, *STEPS, "--output", tmp_path / "run")

    assert "the tower learns, which needs the pixels" in train("seeing", folder / "fp32", "--train", "everything")
    assert "are of another tower than that of" in train("other", folder / "fp32", "--train", "projector")
    assert "has no vision tower" in train("language", folder / "fp32")
    new = refusal("pretrain", "--model", "tiny", "--tower", "new", "--data", folder / "fp32", "--steps", 1, *STEPS, "--output", tmp_path / "run")
    assert "64 tokens, and tiny sees 64 × 64 in 16" in new
    # Another processor, and a file that lacks the last picture's last row.
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in (folder / "fp32").iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["pictures"]["deviation"] = [0.25, 0.25, 0.25]
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert "are normalised otherwise than" in train("seeing", changed, "--train", "projector")
    (changed / "manifest.json").write_bytes((folder / "fp32/manifest.json").read_bytes())
    whole = (changed / "pictures.pictures").read_bytes()
    (changed / "pictures.pictures").write_bytes(whole[:-192 * 4])
    assert "Prepare the data again" in train("seeing", changed, "--train", "projector")
    assert not (tmp_path / "run").exists()

    def data(*options, code=1):
        return refusal("data", "pretrain", "--input", folder / "scenes/captions.jsonl", "--tokenizer", folder / "tokenizer", *options,
                       "--output", tmp_path / "data", code=code)

    assert "give --sight as well" in data("--picture-size", 64, "--picture-features", "bf16", code=2)
    assert "has no vision tower" in data("--sight", folder / "language", "--picture-features", "bf16")
    assert not (tmp_path / "data").exists()


def test_a_preparation_that_is_killed_while_the_tower_runs_leaves_no_data(minimind, folder, binary, tmp_path):
    scenes = folder / "many"
    if not scenes.exists():
        minimind("data", "scenes", "--count", 2000, "--held-out-count", 4, "--output", scenes)
    command = ["data", "sft", "--input", scenes / "train.jsonl", "--tokenizer", folder / "tokenizer", "--sight", folder / "seeing",
               "--picture-features", "fp32", "--output", tmp_path / "out"]
    process = subprocess.Popen([binary, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    left = tmp_path / f"out.partial-{process.pid}-0"
    pictures = left / "pictures.pictures"
    # Past the header, and far from the end.
    wait_until(lambda: pictures.exists() and pictures.stat().st_size > 64, "no features are written", process)
    process.kill()
    process.wait()
    assert not (tmp_path / "out").exists() and left.is_dir()
    minimind("data", "sft", "--input", folder / "scenes/train.jsonl", "--tokenizer", folder / "tokenizer", "--sight", folder / "seeing",
             "--picture-features", "fp32", "--output", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())["pictures"]
    assert (tmp_path / "out/pictures.pictures").stat().st_size == 64 + manifest["count"] * 64 * 192 * 4
