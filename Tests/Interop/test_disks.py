"""Training and data on disks that cannot do all that ext4 can, mounted for the test where this user may do that.

What is done where a call is refused is tested call by call in Tests/StorageTests and Tests/TrainingTests.
"""

import json
import random
import shutil
import subprocess

import pytest
from conftest import wait_until
from test_training import FEW, data, losses, pretraining, start, steps, weights  # noqa: F401


@pytest.fixture
def mount(tmp_path):
    """Mounts a file system and gives its path; skips where that is not allowed or the kernel lacks it."""
    mounted = []

    def run(kind, *options, source=None, place="disk"):
        path = tmp_path / place
        path.mkdir(exist_ok=True)
        command = ["mount", "-t", kind, *options, str(source or kind), str(path)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"{kind} cannot be mounted here: {result.stderr.strip()}")
        mounted.append(path)
        return path

    yield run
    for path in reversed(mounted):
        subprocess.run(["umount", "-l", str(path)], capture_output=True)


@pytest.fixture(params=["vfat", "exfat"])
def disk_without_links(request, mount, tmp_path):
    """A disk that has no links, has times of two seconds, and knows no upper and lower case."""
    make = shutil.which(f"mkfs.{request.param}")
    if not make:
        pytest.skip(f"mkfs.{request.param} is not installed")
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run([make, str(image)], check=True, capture_output=True)
    return mount(request.param, "-o", "loop", source=image)


def killed_and_resumed(start, data, run, kills):  # noqa: F811
    """A run of 200 steps with a checkpoint every other step, killed some times, until it ends."""
    process = start(*pretraining(data, run, "--steps", 200, "--checkpoint-interval", 2, "--eval-interval", 20))
    generator = random.Random(5)
    for _ in range(kills):
        wait_until((run / "training.json").exists, "there is no record", process)
        step = max(steps(run), default=0) + 1 + generator.randrange(15)
        wait_until(lambda: max(steps(run), default=0) >= step, "the run makes no progress", process)
        process.kill()
        process.wait()
        process = start("pretrain", "--resume", run)
    error = process.communicate()[1]
    assert process.returncode == 0, error
    assert not list(run.glob("**/*.partial-*"))


def commands_work(minimind, data, run, folder):  # noqa: F811
    """Every command that reads a run or writes to a disk."""
    best = run / "checkpoints/best"
    for model in [run, best]:
        assert minimind("generate", "--model", model, "--prompt", "Anna", "--max-tokens", 3).returncode == 0
    for output in ["converted", "model.gguf", "model.pth"]:
        minimind("convert", "--from", best, "--to", folder / output)
    for _ in range(2):  # The second time it replaces.
        minimind("data", "sft", "--input", data / "chat.jsonl", "--tokenizer", run / "model", "--output", folder / "chat-data")
    minimind("lora", "--from", run, "--data", folder / "chat-data", "--output", folder / "adapter", "--steps", 4, *FEW)
    minimind("merge", "--adapter", folder / "adapter", "--to", folder / "merged")
    minimind("pretrain", "--resume", run, "--steps", 204)
    minimind("runs", "compare", run, folder / "adapter")
    assert json.loads(minimind("info", folder / "merged", "--json").stdout)["parameters"] > 0


def test_disk_without_links(minimind, start, data, tmp_path, disk_without_links):  # noqa: F811
    killed_and_resumed(start, data, disk_without_links / "run", 8)
    minimind(*pretraining(data, tmp_path / "whole", "--steps", 200, "--checkpoint-interval", 2, "--eval-interval", 20))
    assert weights(disk_without_links / "run") == weights(tmp_path / "whole")
    assert losses(disk_without_links / "run") == losses(tmp_path / "whole")
    commands_work(minimind, data, disk_without_links / "run", disk_without_links)


def test_a_run_that_a_container_image_brought_along(minimind, start, data, tmp_path, mount):  # noqa: F811
    """In an overlay the directories of the lower layer cannot be renamed: not those of a run, not those of data."""
    options = ["--steps", 40, "--checkpoint-interval", 2, "--eval-interval", 20]
    minimind(*pretraining(data, tmp_path / "whole", *options))
    image = mount("tmpfs", place="layers")
    for name in ["lower", "upper", "work"]:
        (image / name).mkdir()
    process = start(*pretraining(data, image / "lower/run", *options))
    wait_until(lambda: max(steps(image / "lower/run"), default=0) >= 9, "the run makes no progress", process)
    process.kill()
    process.wait()
    minimind("data", "sft", "--input", data / "chat.jsonl", "--tokenizer", data / "tokenizer",
             "--output", image / "lower/chat-data")
    place = mount("overlay", "-o", f"lowerdir={image}/lower,upperdir={image}/upper,workdir={image}/work")
    minimind("pretrain", "--resume", place / "run")
    assert weights(place / "run") == weights(tmp_path / "whole")
    assert losses(place / "run") == losses(tmp_path / "whole")
    assert not list(place.glob("**/*.partial-*"))
    commands_work(minimind, data, place / "run", place)


def test_everything_that_is_only_read_may_be_read_only(minimind, data, tmp_path, mount):  # noqa: F811
    """Models, data and texts on a disk that nobody can write to, such as a shared cache."""
    place = mount("tmpfs")
    minimind(*pretraining(data, place / "run", "--steps", 20))
    for name in ["pretrain", "sft"]:
        shutil.copytree(data / name, place / name)
    for name in ["text.txt", "chat.jsonl"]:
        shutil.copy(data / name, place)
    remounted = subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True, text=True)
    if remounted.returncode != 0:
        pytest.skip(f"nothing can be mounted read-only here: {remounted.stderr.strip()}")
    run = place / "run"
    minimind("pretrain", "--from", run, "--data", place / "pretrain", "--output", tmp_path / "further", "--steps", 4, *FEW)
    minimind("lora", "--from", run, "--data", place / "sft", "--output", tmp_path / "adapter", "--steps", 4, *FEW)
    minimind("merge", "--adapter", tmp_path / "adapter", "--to", tmp_path / "merged")
    minimind("convert", "--from", run, "--to", tmp_path / "model.gguf")
    minimind("data", "pretrain", "--input", place / "text.txt", "--tokenizer", run / "model", "--output", tmp_path / "data")
    minimind("data", "inspect", place / "sft")
    minimind("eval", "perplexity", "--model", run, "--data", place / "pretrain")
    minimind("generate", "--model", run, "--prompt", "Anna", "--max-tokens", 3)
    minimind("chat", "--model", run, "--max-tokens", 3, input="who is 3?\n")
    minimind("runs", "list", place)
    assert "complete" in minimind("watch", run, "--terminal").stdout
    for refused in [
        minimind("pretrain", "--resume", run, "--steps", 30, check=False),
        minimind(*pretraining(data, place / "other"), check=False),
        minimind("convert", "--from", run, "--to", place / "model.gguf", check=False),
        minimind("data", "pretrain", "--input", place / "text.txt", "--tokenizer", run / "model", "--output", place / "x",
                 check=False),
    ]:
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1 and "the file system is read-only. Choose another directory" in refused.stderr
        assert " 1/" not in refused.stdout
