"""Event files of a run, read back by TensorBoard's own reader."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.heavy


def test_tensorboard_shows_what_metrics_say(minimind, tokenizer_directory, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"Document {n} says that {n} and {n + 1} make {2 * n + 1}. 数字很好。\n" for n in range(400)),
                    encoding="utf-8")
    minimind("data", "pretrain", "--input", text, "--tokenizer", tokenizer_directory, "--output", tmp_path / "data")
    run = tmp_path / "run"
    options = ["--batch-tokens", 256, "--micro-batch-tokens", 256, "--sequence-length", 64, "--eval-interval", 4,
               "--checkpoint-interval", 4, "--sample-prompt", "Document", "--threads", 1]
    minimind("pretrain", "--model", "tiny", "--data", tmp_path / "data", "--output", run, "--steps", 12, "--tensorboard",
             *options)
    # As after a crash behind step 10: the run repeats its steps from the checkpoint of step 8.
    for name in ("checkpoints/step-12", "checkpoints/best"):
        path = run / name
        path.unlink() if path.is_symlink() else path.rename(tmp_path / "gone")
    minimind("pretrain", "--resume", run)

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line} - {"train/global_step"}
    assert set(events.Tags()["scalars"]) == names and "train/loss" in names and "eval/bpb" in names
    for name in names - {"train/tokens_per_second", "train/peak_memory_bytes"}:
        expected = [(line["train/global_step"], line[name]) for line in lines if name in line]
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in shown] == [step for step, _ in expected], name
        assert [value for _, value in shown] == pytest.approx([value for _, value in expected], rel=1e-6), name
    samples = events.Tensors("samples/1")
    # TensorBoard forgets scalars that come again, not texts.
    assert [sample.step for sample in samples] == [0, 4, 8, 12, 12]
    assert samples[0].tensor_proto.string_val[0].decode().startswith("**Document** ")
