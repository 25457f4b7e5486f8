"""Oracle tests: the `minimind` binary against the packages whose formats and numbers it must match.

`make test` runs those that need small packages only; tests marked `heavy` (PyTorch, transformers, a browser) run in
`make interop`, as those marked `clients` do, whose packages need an environment of their own; those marked `peers`
(llama.cpp) run in `make peers`.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

#: Seconds after which a test no longer waits for what must happen: far more than anything takes on a busy machine.
PATIENCE = 600


def wait_until(condition, what, process=None):
    """Waits until `condition()` is true and returns its value; fails with `what` if `process` ends before."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert process is None or process.poll() is None, (what, process.communicate())
        assert time.monotonic() < end, what
        time.sleep(0.005)
    return value


def memory_so_far(pid):
    """The most bytes that a program has had in memory until now; 0 for one that has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return max((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), default=0)


def peak_memory(process):
    """The most bytes that a program had in memory, once it has ended well."""
    # Not getrusage: its peak includes this process before the exec.
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_so_far(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0
    return peak


#: Entries of the tokenizer that small models of random weights are made with.
VOCABULARY = 512

#: Files that import packages which not every environment has, and the markers that select the run of their own.
MARKERS = {
    "test_openai.py": "not heavy and not peers", "test_openai_parameters.py": "not heavy and not peers",
    "test_structured_output.py": "not heavy and not peers", "test_schema_suite.py": "not heavy and not peers",
    "test_apis.py": "not heavy and not peers", "test_frameworks.py": "heavy",
    "test_clients.py": "heavy", "test_autogen.py": "clients", "test_instructor.py": "clients",
    "test_convert.py": "not heavy and not peers", "test_gguf.py": "not heavy and not peers", "test_transformers.py": "heavy", "test_dpo.py": "heavy",
    "test_preference_losses.py": "heavy", "test_distillation.py": "heavy", "test_reward.py": "heavy", "test_grpo.py": "heavy", "test_ppo.py": "heavy", "test_pictures.py": "heavy", "test_picture_data.py": "heavy", "test_sight.py": "heavy", "test_sight_formats.py": "heavy", "test_sight_stages.py": "heavy",
    "test_convert_torch.py": "heavy", "test_tokenizer_transformers.py": "heavy", "test_stored_weights.py": "heavy", "test_peft.py": "heavy", "test_sampling.py": "heavy",
    "test_generation_config.py": "heavy", "test_rows_trl.py": "heavy", "test_parquet.py": "heavy",
    "test_llama_cpp.py": "peers", "test_sight_llama_cpp.py": "peers",
    "test_tensorboard.py": "heavy", "test_wandb.py": "heavy"}


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: needs PyTorch, transformers or a browser (make interop)")
    config.addinivalue_line("markers", "clients: needs packages that exclude those of the others (make interop)")
    config.addinivalue_line("markers", "peers: needs llama.cpp (make peers)")


def pytest_ignore_collect(collection_path, config):
    """Leaves out a file whose packages belong to another run; in its own a package that is missing is an error, not a
    skipped test."""
    expression, marker = config.getoption("markexpr"), MARKERS.get(collection_path.name)
    return True if marker and expression and expression != marker else None


@pytest.fixture(scope="session")
def shared():
    """The folder of golden data that is not part of the repository; without it the test says that it was skipped."""
    folder = Path(os.environ.get("MINIMIND_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "fixtures").is_dir():
        pytest.skip(f"no golden data in {folder} (set MINIMIND_SHARED)")
    return folder


@pytest.fixture(scope="session")
def binary():
    """The path of the program under test."""
    return os.environ.get("MINIMIND", str(REPOSITORY / ".build/release/minimind"))


@pytest.fixture(scope="session")
def probe(binary):
    """Runs interop-probe, which `make interop` builds beside the program."""

    def run(*arguments):
        completed = subprocess.run(
            [Path(binary).with_name("interop-probe"), *map(str, arguments)], capture_output=True, text=True,
            stdin=subprocess.DEVNULL)
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    return run


@pytest.fixture(scope="session")
def minimind(binary):
    """Runs the binary: `minimind("info", "--json")`; the completed process, its output decoded."""

    def run(*arguments, input=None, check=True):
        completed = subprocess.run(
            [binary, *map(str, arguments)], input=input, capture_output=True, text=True,
            stdin=subprocess.DEVNULL if input is None else None)
        if check:
            assert completed.returncode == 0, f"minimind {' '.join(map(str, arguments))}: {completed.stderr}"
        return completed

    return run


@pytest.fixture(scope="session")
def tokenizer_directory():
    """A tokenizer of VOCABULARY entries that our program has learned from this project's documents of one day.

    It stays as it is, since with another vocabulary random models write other texts.
    """
    return REPOSITORY / "Tests/Interop/fixtures/tokenizer"


@pytest.fixture(scope="module")
def model(request, tmp_path_factory, tokenizer_directory):
    """A small model of random weights, which is served as my-model; a file of tests may set its CONTEXT."""
    from random_model import make_model

    context = getattr(request.module, "CONTEXT", 512)
    return make_model(tmp_path_factory.mktemp("serve") / "my-model", tokenizer_directory, context=context, scale=0.15)


@pytest.fixture(scope="module")
def server(binary, model):
    """`minimind serve` with that model."""
    from serving import Server

    with Server(binary, model) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    """OpenAI's package, which asks that server."""
    import openai

    return openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
