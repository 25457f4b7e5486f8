"""What the system does not give: files of any size, descriptors, memory, cores, directories that may be read.

Each ends with a sentence and leaves nothing that looks like a result; none ends by a signal.
"""

import json
import os
import resource
import shutil
import subprocess

import pytest

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 512, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "rope_theta": 10000, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2}
SMALL = ["--steps", 2, "--batch-tokens", 256, "--micro-batch-tokens", 256, "--threads", 1]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("".join(f"the cat {number} sat on the mat and looked at the dog {number * 7}\n" for number in range(4000)))
    return path


@pytest.fixture(scope="module")
def prepared(minimind, tokenizer_directory, texts, tmp_path_factory):
    """A model of random size with its data."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    minimind("data", "pretrain", "--input", texts, "--tokenizer", tokenizer_directory, "--output", folder / "data")
    minimind("pretrain", "--model", folder / "config.json", "--data", folder / "data", "--output", folder / "run", *SMALL)
    return folder


def limited(binary, limits, *arguments, **options):
    """Runs the program under limits of `ulimit`."""
    def limit():
        for name, value in limits.items():
            resource.setrlimit(name, (value, value))
    return subprocess.run([binary, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=600, preexec_fn=limit, **options)


def commands(tokenizer, texts, prepared, output):
    """Commands that write, by a name, each with the paths of its result."""
    return {
        "tokenizer": (["tokenizer", "train", "--input", texts, "--output", output, "--vocab-size", 400], [output]),
        "data": (["data", "pretrain", "--input", texts, "--tokenizer", tokenizer, "--output", output], [output]),
        "pretrain": (["pretrain", "--model", prepared / "config.json", "--data", prepared / "data", "--output", output, *SMALL], []),
        "hf": (["convert", "--from", prepared / "run", "--to", output], [output]),
        "pth": (["convert", "--from", prepared / "run", "--to", f"{output}.pth"], [f"{output}.pth"]),
        "gguf": (["convert", "--from", prepared / "run", "--to", f"{output}.gguf"], [f"{output}.gguf", f"{output}.Modelfile"])}


NAMES = ["tokenizer", "data", "pretrain", "hf", "pth", "gguf"]


@pytest.mark.parametrize("name", NAMES)
def test_files_may_not_become_large(binary, tokenizer_directory, texts, prepared, tmp_path, name):
    """`ulimit -f`: the program is not killed, says what it is, and removes what it has begun."""
    arguments, results = commands(tokenizer_directory, texts, prepared, tmp_path / "out")[name]
    done = limited(binary, {resource.RLIMIT_FSIZE: 2048}, *arguments)
    assert done.returncode == 1 and "ulimit -f" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not any(os.path.exists(path) for path in results)
    assert not [path for path in tmp_path.rglob("*") if ".partial-" in path.name]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(binary, tokenizer_directory, texts, prepared, tmp_path, name):
    """A result of several files is there as a whole or not at all, wherever the disk fills up; the sentence is ours."""
    disk = tmp_path / "disk"
    disk.mkdir()
    for size in [8, 40, 160]:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("a small file system cannot be mounted here (needs root)")
        try:
            arguments, results = commands(tokenizer_directory, texts, prepared, disk / "out")[name]
            done = limited(binary, {}, *arguments)
            if done.returncode != 0:
                assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
                assert "ree some space" in done.stderr and "No space left" not in done.stderr, done.stderr
                assert not any(os.path.exists(path) for path in results), (size, os.listdir(disk))
                assert not [path for path in disk.rglob("*") if ".partial-" in path.name]
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_few_files_may_be_open(binary, tokenizer_directory, texts, prepared, tmp_path, name):
    """`ulimit -n`: too few are a sentence, also where a library would end the program."""
    for count in [4, 5, 8, 32]:
        arguments, _ = commands(tokenizer_directory, texts, prepared, tmp_path / f"out{count}")[name]
        done = limited(binary, {resource.RLIMIT_NOFILE: count}, *arguments)
        assert done.returncode == 0 or done.returncode == 1 and done.stderr.count("\n") == 1, (count, done)
        if done.returncode == 1 and count > 4:  # With 4 the program's own libraries may not load.
            assert "ulimit -n" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_few_threads_may_be_started(binary):
    """`ulimit -u`: too few are a sentence, where a run would wait for ever for a thread that never began."""
    with open(binary, "rb") as file:  # Another user may not reach its directory.
        limit = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        done = subprocess.run([f"/proc/self/fd/{file.fileno()}", "bench", "decode", "--model", "tiny"], user=65534, group=65534,
                              extra_groups=[], pass_fds=[file.fileno()], preexec_fn=limit, capture_output=True, text=True,
                              timeout=600)
    assert done.returncode == 1 and "more threads can be started" in done.stderr and done.stderr.count("\n") == 1, done


@pytest.mark.parametrize("name", NAMES)
def test_little_memory(binary, tokenizer_directory, texts, prepared, tmp_path, name):
    """`ulimit -v`: refused memory is a sentence, wherever it is refused."""
    for mebibytes in range(130, 400, 30):
        output = tmp_path / f"out{mebibytes}"
        arguments, _ = commands(tokenizer_directory, texts, prepared, output)[name]
        done = limited(binary, {resource.RLIMIT_AS: mebibytes << 20, resource.RLIMIT_CORE: 0}, *arguments)
        if "while loading shared libraries" in done.stderr:
            continue
        assert done.returncode in (0, 1) and (done.returncode == 0 or "memory" in done.stderr), (mebibytes, done)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr


def test_the_limit_on_memory_counts_before_the_start(binary, prepared, tmp_path):
    done = limited(binary, {resource.RLIMIT_AS: 500 << 20}, "pretrain", "--model", "small", "--data", prepared / "data",
                   "--output", tmp_path / "run", "--steps", 1, "--threads", 1)
    assert done.returncode == 1 and "error: this run needs about" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_more_threads_than_help_are_refused(minimind, prepared, tmp_path):
    cores = json.loads(minimind("info", "--json").stdout)["threads"]
    done = minimind("pretrain", "--model", prepared / "config.json", "--data", prepared / "data", "--output", tmp_path / "run",
                    "--steps", 1, "--threads", 1024, check=False)
    if 4 * cores >= 1024:
        return
    assert done.returncode == 2 and "--threads is 1024, and this machine has" in done.stderr
    assert not (tmp_path / "run").exists()


def test_pipes_in_the_place_of_files_are_refused_at_once(binary, tokenizer_directory, texts, prepared, tmp_path):
    """None of these may wait for a writer."""
    tokenizer, data, run = tmp_path / "tokenizer", tmp_path / "data", tmp_path / "runs/run"

    def copy():
        for source, target in [(tokenizer_directory, tokenizer), (prepared / "data", data), (prepared / "run", run)]:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, symlinks=True)

    model = run / "model"
    copy()
    os.mkfifo(tmp_path / "a.pth")
    cases = [["convert", "--from", tmp_path / "a.pth", "--to", tmp_path / "out"], ["info", tmp_path / "a.pth"]]
    for path in sorted(tokenizer.iterdir()):
        cases.append((path, ["data", "pretrain", "--input", texts, "--tokenizer", tokenizer, "--output", tmp_path / "out"]))
    for path in sorted(data.iterdir()):
        cases.append((path, ["data", "inspect", data]))
    for path in sorted(model.iterdir()):
        cases.append((path, ["generate", "--model", run, "--prompt", "the", "--max-tokens", 1]))
        cases.append((path, ["info", run]))
    for path in [run / "training.json", run / "metrics.jsonl", run / ".lock"]:
        cases.append((path, ["runs", "list", tmp_path / "runs"]))
        cases.append((path, ["pretrain", "--resume", run]))
    for case in cases:
        path, arguments = case if isinstance(case, tuple) else (None, case)
        if path:
            copy()
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        done = subprocess.run([binary, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1), (case, done.stderr)


def test_directories_that_may_not_be_read_are_told(binary, tokenizer_directory, texts, tmp_path):
    """A user without rights to a part of the input gets no result without it."""
    for folder in [tmp_path, *list(tmp_path.parents)[:-2]]:
        os.chmod(folder, os.stat(folder).st_mode | 0o055)
    (tmp_path / "in/closed").mkdir(parents=True)
    for folder in ["in", "in/closed"]:
        shutil.copy(texts, tmp_path / folder / "a.txt")
    tokenizer = shutil.copytree(tokenizer_directory, tmp_path / "tokenizer")
    os.chmod(tmp_path / "in/closed", 0)
    (tmp_path / "out").mkdir(mode=0o777)
    os.chmod(tmp_path / "out", 0o777)
    program = shutil.copy(binary, tmp_path / "minimind")
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    for place in ["in", "in/closed"]:
        done = limited(program, {}, "data", "pretrain", "--input", tmp_path / place, "--tokenizer", tokenizer, "--output",
                       tmp_path / "out/data", **user)
        assert done.returncode == 1 and "closed: permission denied" in done.stderr, done.stderr
        assert os.listdir(tmp_path / "out") == []
    os.chmod(tmp_path / "in/closed", 0o700)


def test_a_conversion_that_was_killed_can_be_repeated(minimind, prepared, tmp_path):
    """Between the Modelfile and the model; another Modelfile is left as it is."""
    arguments = ["convert", "--from", prepared / "run", "--to", tmp_path / "m.gguf"]
    minimind(*arguments)
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").unlink()
    minimind(*arguments)
    assert (tmp_path / "m.gguf").read_bytes() == whole
    (tmp_path / "m.gguf").unlink()
    (tmp_path / "m.Modelfile").write_text("FROM ./other.gguf\n")
    refused = minimind(*arguments, check=False)
    assert refused.returncode == 1 and "m.Modelfile exists already and is not of this model" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["m.Modelfile"]
