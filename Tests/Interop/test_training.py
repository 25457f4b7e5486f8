"""The commands `pretrain` and `sft` as processes: interrupted, killed, on a full disk, two at once, with bad input.

What the loop itself promises is tested in Tests/TrainingTests; here it is that no end of the process can break it.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, wait_until

NAMES, PLACES = ["Anna", "Ben", "小明", "Dora"], ["in the park", "at home", "by the river", "在学校"]
# A step of these models takes a few milliseconds.
FEW = ["--batch-tokens", "512", "--micro-batch-tokens", "256", "--sequence-length", "128", "--threads", "1"]


@pytest.fixture(scope="module")
def data(minimind, tmp_path_factory):
    """A folder with prepared data (`pretrain`, `sft`), a tokenizer and the configuration `model.json`."""
    folder = tmp_path_factory.mktemp("training")
    generator = random.Random(5)

    def document(number):
        return " ".join(
            f"{generator.choice(NAMES)} sees {generator.choice(NAMES)} {generator.choice(PLACES)}."
            for _ in range(1 + number % 12))

    documents = [document(number) for number in range(200)]
    (folder / "text.txt").write_text("\n".join(documents))
    (folder / "chat.jsonl").write_text(
        "\n".join(json.dumps({"q": f"who is {number}?", "a": text}) for number, text in enumerate(documents)))
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "tokenizer", "--vocab-size", 300)
    for stage, name in [("pretrain", "text.txt"), ("sft", "chat.jsonl")]:
        minimind("data", stage, "--input", folder / name, "--tokenizer", folder / "tokenizer", "--output", folder / stage)
    model = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "mixture.json").write_text(json.dumps(model | {
        "architectures": ["Ernie4_5_MoeForCausalLM"], "moe_intermediate_size": 64, "moe_num_experts": 4, "moe_k": 2,
        "moe_num_shared_experts": 1, "moe_layer_start_index": 0, "router_aux_loss_coef": 0.02}))
    return folder


def pretraining(data, output, *options):
    return ["pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", output, *FEW, *options]


@pytest.fixture
def start(binary):
    """Starts the binary without waiting for it; whatever still runs at the end of the test is killed."""
    processes = []

    def run(*arguments, before=()):
        process = subprocess.Popen(
            [*before, binary, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def steps(run):
    """The steps of metrics.jsonl that are there in whole lines."""
    path = Path(run) / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line)["train/global_step"] for line in lines]


def wait_for_step(run, step, process):
    """Waits until the run has made a step."""
    wait_until(lambda: max(steps(run), default=-1) >= step, "the run makes no progress", process)


def weights(run):
    return (Path(run) / "model/model.safetensors").read_bytes()


def losses(run):
    """The numbers of metrics.jsonl that do not depend on the clock or the memory."""
    rows = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in ("train/tokens_per_second", "train/peak_memory_bytes")} for row in rows]


def test_killed_at_any_moment(minimind, start, data, tmp_path):
    """Twenty kills at random moments, checkpoints being written all the time: the run ends with the same bits."""
    options = ["--steps", 600, "--checkpoint-interval", 1, "--eval-interval", 100]
    minimind(*pretraining(data, tmp_path / "whole", *options))
    generator = random.Random(11)
    run = tmp_path / "killed"
    process = start(*pretraining(data, run, *options))
    kills = 0
    while kills < 20:
        # The record is written before the first step; without it there is nothing to resume. Then some steps, however
        # long they take here, and a moment within one: 20 times, and far from the end.
        wait_until((run / "training.json").exists, "there is no record", process)
        step = max(steps(run), default=0) + generator.randrange(12)
        wait_until(lambda: max(steps(run), default=0) >= step, "the run makes no progress", process)
        time.sleep(generator.uniform(0, 0.02))
        process.kill()
        process.wait()
        kills += 1
        # Whatever bears the name of a checkpoint is one.
        for checkpoint in (run / "checkpoints").glob("step-*"):
            if ".partial-" not in checkpoint.name:
                assert json.loads((checkpoint / "state.json").read_text())["step"] == int(checkpoint.name[5:])
        process = start("pretrain", "--resume", run)
    # Not wait(): the lines of so many checkpoints are more than a pipe holds.
    error = process.communicate()[1]
    assert process.returncode == 0, error
    assert weights(run) == weights(tmp_path / "whole")
    assert losses(run) == losses(tmp_path / "whole")
    assert not list(run.glob("**/*.partial-*"))


@pytest.mark.parametrize("options", [
    ["--threads", 1], ["--threads", 2], ["--precision", "fp32"], ["--micro-batch-tokens", 8192, "--recompute-activations"],
    ["--sample-prompt", "Anna sees"]], ids=str)
def test_the_peak_of_memory_is_what_was_announced(minimind, data, tmp_path, options):
    written = minimind(
        "pretrain", "--model", "tiny", "--data", data / "pretrain", "--output", tmp_path / "run", "--steps", 2,
        *options).stdout

    def mebibytes(name):
        number, unit = re.search(rf"^ *{name} +(?:about )?([0-9.]+) (MiB|GiB)", written, re.MULTILINE).groups()
        return float(number) * {"MiB": 1, "GiB": 1024}[unit]

    assert mebibytes("peak memory") == pytest.approx(mebibytes("memory"), rel=0.1)


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP] * 3], ids=str)
def test_interrupted(minimind, start, data, tmp_path, signals):
    """A polite end saves, tells how to go on, and going on ends with the same bits. A closed terminal is one, too."""
    options = ["--steps", 600, "--checkpoint-interval", 200]
    minimind(*pretraining(data, tmp_path / "whole", *options))
    run = tmp_path / "run"
    # Whoever runs the tests under nohup has SIGHUP ignored.
    process = start(*pretraining(data, run, *options), before=["env", "--default-signal=HUP"])
    wait_for_step(run, 5, process)
    for number in signals:
        process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    stopped = max(steps(run))
    assert errors == (
        f"interrupted after step {stopped}; everything is saved. Go on with: minimind pretrain --resume {run}\n")
    assert (run / f"checkpoints/step-{stopped}/state.json").exists()
    assert f"saved {run}/checkpoints/step-{stopped}" in output
    minimind("pretrain", "--resume", run)
    assert weights(run) == weights(tmp_path / "whole")
    # Steps once each, in order; evaluations repeat the step that they follow.
    assert steps(run) == sorted(steps(run)) and set(steps(run)) == set(range(601))


def test_nobody_watches(minimind, start, data, tmp_path):
    """A run goes on when its output can no longer be read, and under nohup when its terminal is closed."""
    options = ["--steps", 300, "--log-interval", 1, "--eval-interval", 150]
    process = start(*pretraining(data, tmp_path / "run", *options), before=["nohup"])
    assert "model.json" in process.stdout.readline()
    process.stdout.close()
    wait_for_step(tmp_path / "run", 5, process)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=PATIENCE) == 0
    minimind(*pretraining(data, tmp_path / "whole", *options))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_fine_tuning_resumes(minimind, start, data, tmp_path):
    """`sft --from RUN`, interrupted and resumed, also when the run that it began from has gone."""
    minimind(*pretraining(data, tmp_path / "base", "--steps", 5))
    options = ["--data", data / "sft", "--epochs", 24, *FEW]
    minimind("sft", "--from", tmp_path / "base", "--output", tmp_path / "whole", *options)
    run = tmp_path / "run"
    process = start("sft", "--from", tmp_path / "base", "--output", run, *options)
    wait_for_step(run, 3, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    shutil.rmtree(tmp_path / "base")
    minimind("sft", "--resume", run)
    assert weights(run) == weights(tmp_path / "whole")
    assert losses(run) == losses(tmp_path / "whole")


def test_extended_and_killed(minimind, start, data, tmp_path):
    """A finished run made longer, killed and resumed: the same bits as one that was made longer in one go."""
    options = ["--steps", 60, "--checkpoint-interval", 5, "--eval-interval", 30]
    for name in ["whole", "killed"]:
        minimind(*pretraining(data, tmp_path / name, *options))
    longer = ["--steps", 400]
    output = minimind("pretrain", "--resume", tmp_path / "whole", *longer).stdout
    assert "after step 60 of 60, to 400, with a new schedule" in output and "warm-up to step 70" in output
    run = tmp_path / "killed"
    generator = random.Random(3)
    process = start("pretrain", "--resume", run, *longer)
    for kill in range(6):
        step = max(60, *steps(run)) + 1 + generator.randrange(30)
        wait_until(lambda: max(steps(run)) >= step, "the run makes no progress", process)
        process.kill()
        process.wait()
        # A script may say each time how long the run is to be.
        process = start("pretrain", "--resume", run, *(longer if kill % 2 else []))
    error = process.communicate()[1]
    assert process.returncode == 0, error
    assert weights(run) == weights(tmp_path / "whole")
    assert losses(run) == losses(tmp_path / "whole")
    records = [json.loads((tmp_path / name / "training.json").read_text()) for name in ["whole", "killed"]]
    for record in records:
        assert len(record["extensions"]) == 1 and record["extensions"][0].pop("time").endswith("Z")
    assert records[0] == records[1] and records[0]["totalSteps"] == 400
    assert {row.split()[0]: row.split()[4] for row in minimind("runs", "list", tmp_path).stdout.splitlines()[2:]} == {
        str(tmp_path / name): "400/400" for name in ["whole", "killed"]}
    refused = minimind("pretrain", "--resume", run, "--steps", 399, check=False)
    assert refused.returncode == 1 and "--steps 399 does not make it longer" in refused.stderr


def test_trained_further_on_other_text(minimind, data, tmp_path):
    """`pretrain --from` learns new text with the model's tokenizer, from the model's weights."""
    minimind(*pretraining(data, tmp_path / "base", "--steps", 40))
    (tmp_path / "new.txt").write_text("\n".join(f"{name} sleeps {place}." for name in NAMES for place in PLACES * 10))
    minimind("data", "pretrain", "--input", tmp_path / "new.txt", "--tokenizer", tmp_path / "base/model",
             "--output", tmp_path / "new")
    output = minimind(
        "pretrain", "--from", tmp_path / "base", "--data", tmp_path / "new", "--output", tmp_path / "further",
        "--steps", 40, *FEW).stdout
    assert "ln(vocabulary)" not in output
    held_out = [row["eval/loss"] for row in losses(tmp_path / "further") if "eval/loss" in row]
    assert held_out[-1] < 0.7 * held_out[0]
    assert minimind("generate", "--model", tmp_path / "further", "--prompt", "Anna", "--max-tokens", 3).returncode == 0


def test_two_runs_into_one_directory(minimind, start, data, tmp_path):
    run = tmp_path / "run"
    process = start(*pretraining(data, run, "--steps", 100000))
    wait_for_step(run, 1, process)
    for arguments in [pretraining(data, run), ["pretrain", "--resume", run]]:
        refused = minimind(*arguments, check=False)
        assert refused.returncode == 1
        assert refused.stderr == (
            f"error: {run} is in use by another minimind process. Wait for it, or choose another output directory.\n")
    assert process.poll() is None


@pytest.fixture
def disk(tmp_path):
    """Mounts a small file system: `disk("1m")`; its path."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True)


def test_no_room_for_a_checkpoint(minimind, data, disk):
    """What the checkpoints need is asked for before the first step."""
    place = disk("1m")
    refused = minimind(*pretraining(data, place / "run", "--steps", 3), check=False)
    assert refused.returncode == 1
    assert re.search(r"the checkpoints of this run need about 1[56]\.[0-9]+ MiB", refused.stderr) and "Free some space" in refused.stderr
    assert not (place / "run").exists()


def test_full_disk(start, data, disk):
    """The disk fills up during the run: a clear error, the last checkpoint whole, and with room again the run goes on."""
    place = disk("64m")
    run = place / "run"
    options = ["--steps", 3000, "--checkpoint-interval", 20, "--eval-interval", 500]
    process = start(*pretraining(data, run, *options))
    wait_for_step(run, 45, process)
    with open(place / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1 << 12))
        except OSError:
            pass
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.startswith("error: cannot ") and "ree some space" in errors and errors.count("\n") == 1
    kept = [path.name for path in (run / "checkpoints").glob("step-*")]
    assert kept and not [name for name in kept if ".partial-" in name]
    os.remove(place / "filler")
    process = start("pretrain", "--resume", run)
    wait_for_step(run, max(int(name[5:]) for name in kept) + 1, process)
    process.kill()
    process.wait()


def test_bad_input(minimind, data, tmp_path):
    """One clear sentence, exit code 1 or 2, nothing left behind."""
    run = tmp_path / "run"
    text, shards, model = data / "text.txt", data / "pretrain", data / "model.json"
    small = json.loads(model.read_text()) | {"vocab_size": 200}
    (tmp_path / "small.json").write_text(json.dumps(small))
    cases = [
        (2, "did you mean --learning-rate?", ["pretrain", "--learnin-rate", "1"]),
        (2, "pretrain needs --model NAME or --from MODEL, or --resume RUN", ["pretrain", "--data", shards]),
        (2, "sft needs --from MODEL, or --resume RUN", ["sft", "--data", shards]),
        (1, "Give one of them", ["pretrain", "--model", model, "--from", data, "--data", shards, "--output", run]),
        (1, "is not a model", ["pretrain", "--from", data, "--data", shards, "--output", run]),
        (2, "needs --data DIR, or --resume RUN", ["pretrain", "--model", "tiny", "--output", run]),
        (2, "exclude each other", ["pretrain", "--resume", run, "--output", run]),
        (1, "small", ["pretrain", "--model", "smal", "--data", shards, "--output", run]),
        (1, "holds no run to resume", ["pretrain", "--resume", run]),
        (1, "manifest.json", ["pretrain", "--model", model, "--data", data, "--output", run]),
        (1, "not a directory", ["pretrain", "--model", model, "--data", text, "--output", run]),
        (1, "was prepared for sft", ["pretrain", "--model", model, "--data", data / "sft", "--output", run]),
        (1, "vocab_size", ["pretrain", "--model", tmp_path / "small.json", "--data", shards, "--output", run]),
        (1, "is not a model", ["sft", "--from", data, "--data", data / "sft", "--output", run]),
        (1, "is not empty", ["pretrain", "--model", "tiny", "--data", shards, "--output", data]),
        (1, "a file is in the way", pretraining(data, text / "run")),
        (1, "--micro-batch-tokens", [
            "pretrain", "--model", model, "--data", shards, "--output", run, "--micro-batch-tokens", 64,
            "--sequence-length", 128]),
        (1, "--micro-batch-tokens", [
            "pretrain", "--model", "base", "--data", shards, "--output", run, "--micro-batch-tokens", 1 << 24]),
        (1, "context", pretraining(data, run, "--sample-prompt", "Anna " * 200)),
    ]
    for code, words, arguments in cases:
        refused = minimind(*arguments, check=False)
        assert refused.returncode == code, (arguments, refused)
        assert words in refused.stderr and refused.stderr.count("\n") == 1, (arguments, refused.stderr)
        assert not run.exists(), arguments


def test_other_tokenizer(minimind, data, tmp_path):
    """A model does not learn from data whose numbers mean something else."""
    minimind("tokenizer", "train", "--input", data / "text.txt", "--output", tmp_path / "other", "--vocab-size", 290)
    minimind("data", "sft", "--input", data / "chat.jsonl", "--tokenizer", tmp_path / "other", "--output", tmp_path / "d")
    minimind(*pretraining(data, tmp_path / "base", "--steps", 1))
    minimind("data", "pretrain", "--input", data / "text.txt", "--tokenizer", tmp_path / "other", "--output", tmp_path / "t")
    for stage, prepared in [("sft", tmp_path / "d"), ("pretrain", tmp_path / "t")]:
        refused = minimind(
            stage, "--from", tmp_path / "base", "--data", prepared, "--output", tmp_path / "run", check=False)
        assert refused.returncode == 1 and f"{prepared} was prepared with another tokenizer" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_output_and_files(minimind, data, tmp_path):
    """Plain lines without escape codes in a pipe, and the files that a run leaves."""
    run = tmp_path / "run"
    output = minimind(*pretraining(
        data, run, "--steps", 20, "--log-interval", 5, "--eval-interval", 10, "--sample-prompt", "Anna sees")).stdout
    assert "\x1b" not in output and "\r" not in output
    for words in ["parameters", "held out", "256 tokens × 2 = up to 512 a step", "ln(vocabulary) = 5.70", "tokens/s"]:
        assert words in output
    assert [line.split()[1] for line in output.splitlines() if " lr " in line] == [
        f"{step}/20" for step in [1, 5, 10, 15, 20]]
    assert {path.name for path in run.iterdir()} - {".lock"} == {
        "model", "checkpoints", "metrics.jsonl", "samples.txt", "loss.svg", "training.json"}
    assert (run / "samples.txt").read_text().count("> Anna sees") == 3
    assert json.loads((run / "training.json").read_text())["options"]["log-interval"] == 5
    generated = minimind("generate", "--model", run, "--prompt", "Anna", "--max-tokens", 3)
    assert generated.returncode == 0


def test_a_mixture_of_experts_goes_through_every_stage(minimind, data, tmp_path):
    """Pretraining, its resume, fine-tuning and every command that takes a model; what training adds for the balance of
    experts stays out of its losses."""
    base, chat = tmp_path / "base", tmp_path / "chat"
    pretraining_options = ["--model", data / "mixture.json", "--data", data / "pretrain", *FEW, "--learning-rate", 0.01]
    training = minimind("pretrain", *pretraining_options, "--output", base, "--steps", 60, "--log-interval", 1)
    assert "2 of 4 experts and 1 shared" in training.stdout
    assert "busiest expert" in training.stdout and "aux 0.0" in training.stdout
    rows = [json.loads(line) for line in (base / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "train/loss" in row]
    held_out = [row["eval/loss"] for row in rows if "eval/loss" in row]
    assert held_out[-1] < 0.6 * held_out[0]
    for row in trained:
        # Two layers of weight 0.02: 0.04 where all is even, twice that at the worst for two of four experts.
        assert 0.03 < row["train/aux_loss"] < 0.08
        assert len(row["train/expert_shares"]) == 2 and all(abs(sum(layer) - 1) < 1e-9 for layer in row["train/expert_shares"])
        assert row["train/expert_max_share"] == max(max(layer) for layer in row["train/expert_shares"])
        assert 0 < row["train/expert_entropy"] <= 1
    minimind("sft", "--from", base, "--data", data / "sft", "--output", chat, *FEW, "--steps", 20)
    for run in (base, chat):
        config = json.loads((run / "model/config.json").read_text())
        assert config["architectures"] == ["Ernie4_5_MoeForCausalLM"] and config["router_aux_loss_coef"] == 0.02
    facts = json.loads(minimind("info", chat, "--json").stdout)
    assert facts["parts"]["experts"] == 2 * 4 * 3 * 32 * 64 and facts["parts"]["routers"] == 2 * 4 * 32
    assert facts["parameters"] - facts["active_parameters"] == 2 * 2 * 3 * 32 * 64
    measured = json.loads(minimind("eval", "perplexity", "--model", base, "--data", data / "pretrain", "--json").stdout)
    # bf16 and other batches than in training.
    assert abs(measured["loss"] - held_out[-1]) < 0.01 * held_out[-1]
    text = json.loads(minimind("generate", "--model", base, "--prompt", "Anna sees", "--temperature", 0, "--max-tokens", 12,
                               "--json").stdout)["text"]
    # What sixty steps have taught differs with the rounding: a name, or the end of a place.
    assert any(word in text for word in NAMES + [place.split()[-1] for place in PLACES]), text
    assert minimind("chat", "--model", chat, "--temperature", 0, "--max-tokens", 8, input="who is 3?\n").stdout.strip()
    rates = json.loads(minimind("bench", "train", "--model", data / "mixture.json", "--steps", 1, "--batch-tokens", 512,
                                "--micro-batch-tokens", 256, "--sequence-length", 64, "--json").stdout)
    assert rates["profile"]["routing"] > 0 and rates["tokens_per_second"] > 0
