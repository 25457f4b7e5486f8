"""Several processes under Open MPI's mpirun, training and preparing data: the result, a rank that dies or hangs, machines
that see different files, the cores of each, and the end by a signal.

What the ranks compute is tested in Tests/TrainingTests/ProcessRunTests.swift and Tests/CorpusTests/PreparationGroupTests.swift,
with threads in their place; here are the processes, the library and the program.
"""

import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import PATIENCE, wait_until
from safetensors.numpy import load_file

from test_learning import own_answers, prompts  # noqa: F401 (a fixture)
from test_training import data, losses, steps  # noqa: F401 (a fixture)

SMALL = ["--batch-tokens", 1024, "--micro-batch-tokens", 128, "--sequence-length", 64, "--precision", "fp32"]
#: More than the machine's cores may be asked for, also by root (a container's only user); no rank keeps a core for itself.
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]
ENVIRONMENT = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.fixture
def start(binary):
    """Starts `count` processes of the binary without waiting; those that still run at the end of the test are ended."""
    assert shutil.which("mpirun"), "there is no mpirun (scripts/setup.sh installs it)"
    started = []

    def run(count, *arguments, options=()):
        process = subprocess.Popen(
            [*MPIRUN, *options, "-np", str(count), binary, *map(str, arguments), "--threads", "1"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


@pytest.fixture
def mpirun(start):
    """Runs `count` processes of the binary to their end."""

    def run(count, *arguments, code=0):
        process = start(count, *arguments)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, output + errors
        return output, errors

    return run


def ranks(process):
    """The process ids of the ranks, in order."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return sorted(int(pid) for pid in children.split())


def wait_for_step(run, step, process):
    wait_until(lambda: max(steps(run), default=-1) >= step, "the run makes no progress", process)


def assert_close(found, expected):
    """Tensors of two files are equal but for the rounding of fp32."""
    found, expected = load_file(found), load_file(expected)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.linalg.norm(found[name] - values) <= 1e-4 * np.linalg.norm(values), name


@pytest.mark.parametrize("model", ["model.json", "mixture.json"])
def test_any_number_of_processes(minimind, mpirun, data, tmp_path, model):  # noqa: F811
    """One process, two and four learn the same; one goes on where four were; the others leave no file."""
    def pretraining(output):
        return ["pretrain", "--model", data / model, "--data", data / "pretrain", "--output", output, *SMALL, "--steps",
                8, "--eval-interval", 4]
    minimind(*pretraining(tmp_path / "one"), "--threads", 1)
    for count in [2, 4]:
        output, _ = mpirun(count, *pretraining(tmp_path / str(count)))
        assert f"{count} processes" in output
        assert_close(tmp_path / str(count) / "model/model.safetensors", tmp_path / "one/model/model.safetensors")
        rows = [json.loads(line) for line in (tmp_path / str(count) / "metrics.jsonl").read_text().splitlines()]
        assert [row["train/global_step"] for row in rows if "train/loss" in row] == list(range(1, 9))
        assert all(row["train/exchange_bytes"] > 0 for row in rows if "train/loss" in row)
        assert sorted(p.name for p in (tmp_path / str(count)).iterdir()) == sorted(
            p.name for p in (tmp_path / "one").iterdir())
    record = json.loads((tmp_path / "4/training.json").read_text())
    assert record["options"] == json.loads((tmp_path / "one/training.json").read_text())["options"]


@pytest.mark.parametrize("stage, options", [
    ("grpo", []), ("grpo", ["--beta", 0.05, "--passes", 2]), ("ppo", ["--beta", 0.05, "--passes", 2])])
def test_two_processes_learn_from_their_answers(minimind, mpirun, prompts, tmp_path, stage, options):  # noqa: F811
    """Two processes share the writing and the learning, and end with the weights of one, but for rounding."""
    options = [*options, "--steps", 4, "--eval-interval", 4]
    minimind(*own_answers(stage, prompts, tmp_path / "one", *options), "--threads", 1)
    mpirun(2, *own_answers(stage, prompts, tmp_path / "two", *options))
    assert_close(tmp_path / "two/model/model.safetensors", tmp_path / "one/model/model.safetensors")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [row.get("train/reward") for row in two] == [row.get("train/reward") for row in one]
    assert all(abs(a["eval/reward"] - b["eval/reward"]) < 1e-6 for a, b in zip(one, two) if "eval/reward" in a)


def test_killed_rank(minimind, start, mpirun, data, tmp_path):  # noqa: F811
    """kill -9 of one rank ends all; the run goes on with other numbers of processes, and learns the same."""
    options = ["--steps", 400, "--checkpoint-interval", 40, "--eval-interval", 200]
    pretraining = ["pretrain", "--model", data / "model.json", "--data", data / "pretrain", *SMALL, *options]
    run = tmp_path / "run"
    process = start(3, *pretraining, "--output", run)
    wait_for_step(run, 60, process)
    os.kill(ranks(process)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and "rank 1" in errors and "Killed" in errors
    saved = max(int(path.name[5:]) for path in (run / "checkpoints").glob("step-*") if path.name[5:].isdigit())
    assert saved >= 40
    process = start(2, "pretrain", "--resume", run)
    wait_for_step(run, saved + 60, process)
    os.kill(ranks(process)[0], signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    mpirun(4, "pretrain", "--resume", run)
    minimind(*pretraining, "--output", tmp_path / "one", "--threads", 1)
    last = [json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])["eval/loss"] for path in [run, tmp_path / "one"]]
    assert abs(last[0] - last[1]) < 1e-3


def test_hanging_rank(start, data, tmp_path):  # noqa: F811
    """A rank that is stopped ends the run when the others' patience ends, which say whom they wait for."""
    run = tmp_path / "run"
    process = start(
        3, "pretrain", "--model", data / "model.json", "--data", data / "pretrain", *SMALL, "--output", run, "--steps",
        100000, "--exchange-timeout", 5)
    wait_for_step(run, 20, process)
    os.kill(ranks(process)[1], signal.SIGSTOP)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "error: process 0 of 3 has waited 5 s for process 1" in errors, errors
    assert errors.count("error: ") == 1


def test_bad_shard_of_one_rank(start, data, tmp_path):  # noqa: F811
    """An error that all ranks have is told once."""
    broken = tmp_path / "data"
    shutil.copytree(data / "pretrain", broken)
    shard = next(path for path in sorted(broken.iterdir()) if path.suffix == ".tokens")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    process = start(2, "pretrain", "--model", data / "model.json", "--data", broken, *SMALL, "--output", tmp_path / "run")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and errors.count("error: ") == 1
    assert f"error: {shard}: the file is damaged" in errors, errors
    assert not (tmp_path / "run").exists()


def test_bad_usage(mpirun, data):  # noqa: F811
    """It is told once, and the exit code is that of one process."""
    _, errors = mpirun(3, "pretrain", "--data", data / "pretrain", code=2)
    assert errors.count("error: ") == 1 and "error: minimind pretrain needs --model NAME" in errors, errors
    _, errors = mpirun(3, "pretrain", "--no-such-option", code=2)
    assert errors.count("error: ") == 1 and "--no-such-option" in errors, errors


def test_machines_that_see_other_data(binary, data, tmp_path):  # noqa: F811
    """Nothing is trained by processes whose `--data` is not the same; two working directories are the machines."""
    training = [
        binary, "pretrain", "--model", data / "model.json", "--data", "data", "--output", tmp_path / "run", *SMALL, "--steps",
        2, "--threads", 1]
    command = MPIRUN
    for place in ["first", "second"]:
        shutil.copytree(data / "pretrain", tmp_path / place / "data")
        command = [*command, "-np", 1, "-wdir", tmp_path / place, *training, ":"]
    manifest = tmp_path / "second/data/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"programVersion": "0.0.1"}))
    found = subprocess.run(
        list(map(str, command[:-1])), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
    assert found.returncode == 1 and found.stderr.count("error: ") == 1, found.stderr
    assert "error: process 1 would make another run than process 0. It differs in data (" in found.stderr
    assert not (tmp_path / "run").exists()


def test_cores(minimind, binary, data, tmp_path):  # noqa: F811
    """A process has as many threads as it has cores, also in a run that was begun with more, and says if mpirun gave it too
    few of them."""
    run = tmp_path / "run"
    core = str(min(os.sched_getaffinity(0)))
    cores = json.loads(minimind("info", "--json").stdout)["threads"]
    bound = subprocess.run(["taskset", "-c", core, binary, "info", "--json"], capture_output=True, text=True)
    assert json.loads(bound.stdout)["threads"] == 1
    minimind("pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", run, *SMALL, "--steps", 2,
             "--threads", cores + 1)
    for count, before, threads, warnings in [(2, [], max(1, cores // 2), 0), (1, ["taskset", "-c", core], 1, cores > 1)]:
        found = subprocess.run(
            [*MPIRUN, "-np", str(count), *before, binary, "pretrain", "--resume", run], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
        assert found.returncode == 0, found.stderr
        assert f"fp32, {threads} thread{'s' if threads > 1 else ''}\n" in found.stdout
        assert f"begun with {cores + 1} threads; only with as many" in found.stdout
        assert found.stderr.count("mpirun --bind-to none") == warnings, found.stderr


@pytest.mark.parametrize("target", ["a rank", "mpirun"])
def test_stopped_by_a_signal(mpirun, start, data, tmp_path, target):  # noqa: F811
    """SIGTERM for one rank, or a scheduler's SIGUSR1 for mpirun: all ranks save after the same step and stop."""
    run = tmp_path / "run"
    process = start(
        3, "pretrain", "--model", data / "model.json", "--data", data / "pretrain", *SMALL, "--output", run, "--steps",
        100000, "--checkpoint-interval", 100000, "--eval-interval", 100000)
    wait_for_step(run, 20, process)
    if target == "mpirun":
        process.send_signal(signal.SIGUSR1)
    else:
        os.kill(ranks(process)[2], signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert errors.count("everything is saved") == 1
    (checkpoint,) = (run / "checkpoints").glob("step-[0-9]*")
    assert int(checkpoint.name[5:]) == max(steps(run))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_mpirun_is_stopped(start, minimind, data, tmp_path, number):  # noqa: F811
    """SIGTERM or Ctrl-C for mpirun itself, which gives its ranks a second before it kills them: none stays, and the run goes
    on from a whole checkpoint."""
    run = tmp_path / "run"
    process = start(
        3, "pretrain", "--model", data / "model.json", "--data", data / "pretrain", *SMALL, "--output", run, "--steps",
        400, "--checkpoint-interval", 10, "--eval-interval", 10)
    wait_for_step(run, 25, process)
    children = ranks(process)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "a rank is left")
    saved = [int(path.name[5:]) for path in (run / "checkpoints").glob("step-*") if path.name[5:].isdigit()]
    assert max(steps(run)) - 10 <= max(saved) <= max(steps(run))
    minimind("pretrain", "--resume", run, "--threads", 1)
    assert steps(run) == sorted(steps(run)) and set(steps(run)) == set(range(401))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """24 MB of rows: new, repeated, nearly repeated and broken ones."""
    rng = random.Random(4)
    words = ["the", "cat", "sat", "on", "a", "mat", *(f"w{number}" for number in range(500))]
    rows = [" ".join(rng.choices(words, k=rng.randint(40, 160))) for _ in range(2000)]
    rows += [row + " and more" for row in rows[::3]]
    lines = [json.dumps({"text": row}) for row in rows] + ['{"txt": 1}'] * 20
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(line + "\n" for _ in range(20) for line in rng.sample(lines, len(lines))))
    return path


def preparation(data, texts, output, *options):  # noqa: F811
    return ["data", "pretrain", "--input", texts, "--tokenizer", data / "tokenizer", "--output", output, *options]


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_preparation_by_any_number_of_processes(minimind, mpirun, data, texts, tmp_path):  # noqa: F811
    """The same bytes, and what was left out is told by the first process alone."""
    options = ["--deduplicate", "--near-duplicates", 0.8, "--held-out", 0.1]
    minimind(*preparation(data, texts, tmp_path / "alone", *options), "--threads", 2)
    for count in [1, 2, 3, 4]:
        output, errors = mpirun(count, *preparation(data, texts, tmp_path / str(count), *options))
        assert files(tmp_path / str(count)) == files(tmp_path / "alone")
        assert output.count("repeated (--deduplicate)") == 1 and errors.count("400 broken rows were left out:") == 1
        assert (f"{count} processes" in output) == (count > 1)
    dropped = json.loads((tmp_path / "alone/manifest.json").read_text())["rowsDropped"]
    # 667 rows are other ones with two more words; a few are too short to be found so.
    assert 600 < dropped["near-duplicate"] <= 667 and dropped["duplicate"] == 19 * 2667
    assert "near-duplicates 0.8" in minimind("data", "inspect", tmp_path / "alone").stdout


def test_preparation_that_fails_in_one_process(start, data, texts, tmp_path):  # noqa: F811
    """A broken row is told once, with its line; a killed process ends all; neither leaves anything behind."""
    rows = texts.read_text().splitlines(keepends=True)
    first = next(number for number, row in enumerate(rows, 1) if "txt" in row)
    process = start(3, *preparation(data, texts, tmp_path / "out", "--strict"))
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and errors.count("error: ") == 1
    assert f"error: {texts}:{first}: there is no key" in errors
    assert os.listdir(tmp_path) == []

    large = tmp_path / "large.jsonl"
    large.write_text("".join(rows * 10))
    for signals in [(1, signal.SIGKILL), (2, signal.SIGTERM)]:
        # The first process gets more than a second to remove what it has begun.
        process = start(3, *preparation(data, large, tmp_path / "out"), options=["--mca", "odls_base_sigkill_timeout", "5"])
        wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in tmp_path.glob("out.partial-*/train-0.tokens")),
                   "nothing is written", process)
        os.kill(ranks(process)[signals[0]], signals[1])
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert ("Killed" in errors) if signals[1] == signal.SIGKILL else ("interrupted." in errors), errors
        assert os.listdir(tmp_path) == ["large.jsonl"]


def contexts(*commands):
    """One process of each command, under one mpirun."""
    parts = [["-np", 1, *command] for command in commands]
    arguments = [word for part in parts for word in [":", *part]][1:]
    return subprocess.run([*MPIRUN, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=ENVIRONMENT, timeout=PATIENCE)


def test_processes_that_would_make_other_data(binary, minimind, data, texts, tmp_path):  # noqa: F811
    """Nothing is prepared by processes of which one has another tokenizer, input or option."""
    minimind("tokenizer", "train", "--input", texts, "--output", tmp_path / "tokenizer", "--vocab-size", 280)
    (tmp_path / "other.jsonl").write_text('{"text": "the cat"}\n' * 30)
    usual = preparation(data, texts, tmp_path / "out")
    other = {name: list(usual) for name in ["tokenizer", "input files", "--seed", "--output", "command"]}
    other["tokenizer"][5] = tmp_path / "tokenizer"
    other["input files"][3] = tmp_path / "other.jsonl"
    other["--seed"] += ["--seed", 7]
    other["--output"][7] = tmp_path / "elsewhere"
    other["command"][1] = "sft"
    for name, arguments in other.items():
        found = contexts([binary, *usual], [binary, *arguments])
        assert found.returncode == 1 and found.stderr.count("error: ") == 1, found.stderr
        assert "error: process 1 would make another result than process 0. It differs in" in found.stderr, found.stderr
        assert f"{name} (" in found.stderr
        assert sorted(os.listdir(tmp_path)) == ["other.jsonl", "tokenizer"]


def test_processes_of_which_one_begins_and_one_resumes(binary, data, minimind, tmp_path):  # noqa: F811
    pretraining = ["pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", tmp_path / "run", *SMALL,
                   "--steps", 2, "--threads", 1]
    minimind(*pretraining)
    found = contexts([binary, "pretrain", "--resume", tmp_path / "run", "--threads", 1], [binary, *pretraining])
    assert found.returncode == 1 and found.stderr.count("error: ") == 1, found.stderr
    assert "--resume (none instead of " in found.stderr and "MPI_ERR" not in found.stderr


def test_the_work_of_one_process(binary, minimind, data, tmp_path):  # noqa: F811
    """A command that several processes cannot share says so before it begins, as does one that waits for it."""
    pretraining = ["pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", tmp_path / "run", *SMALL,
                   "--steps", 2, "--threads", 1]
    convert = [binary, "convert", "--from", tmp_path / "run", "--to", tmp_path / "out"]
    found = contexts(convert, convert)
    assert found.returncode == 2 and "minimind convert is the work of one process" in found.stderr, found.stderr
    found = contexts([binary, *pretraining], [binary, "info"])
    assert found.returncode == 2 and "minimind info is the work of one process" in found.stderr, found.stderr
    assert os.listdir(tmp_path) == []
    minimind(*pretraining)
    assert contexts(convert).returncode == 0


def test_a_start_that_another_program_keeps_waiting(binary, data, tmp_path):  # noqa: F811
    found = contexts(
        [binary, "pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", tmp_path / "run", *SMALL,
         "--steps", 2, "--threads", 1, "--exchange-timeout", 2], ["sleep", 100_000])
    assert found.returncode == 1 and "error: process 0 has waited 2 s for the others to join" in found.stderr, found.stderr
    assert os.listdir(tmp_path) == []


def test_without_the_library(binary, data, tmp_path):  # noqa: F811
    """Alone, the program does not load Open MPI; as one of several processes without it, it says what is missing."""
    opened = subprocess.run(
        [binary, "pretrain", "--model", data / "model.json", "--data", data / "pretrain", "--output", tmp_path / "run",
         "--steps", "1"], env=os.environ | {"LD_DEBUG": "files"}, capture_output=True, text=True)
    assert opened.returncode == 0 and "libmpi" not in opened.stderr
    version = json.loads(subprocess.run([binary, "info", "--json"], capture_output=True, text=True).stdout)["processes"]
    assert version.startswith("Open MPI")
