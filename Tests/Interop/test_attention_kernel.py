"""The kernel of attention for NVIDIA's GPUs (Sources/PJRT/attention.cu) without one: the same text run on a processor
(attention_emulator.cpp) against attention in NumPy's doubles, and compiled by NVIDIA's compilers for the cards that there are."""

import ctypes
import re
import subprocess

import numpy as np
import pytest

from conftest import REPOSITORY

pytestmark = pytest.mark.heavy

SOURCE = REPOSITORY / "Sources/PJRT/attention.cu"


def numbers(tokens, heads, groups, size, is_float, kernel=0):
    """What attention.cu needs to have defined."""
    values = {"TOKENS": tokens, "HEADS": heads, "GROUPS": groups, "SIZE": size, "SCALE": f"{size ** -0.5:.9g}f",
              "FLOAT32": int(is_float), "PASS": kernel}
    return [f"-D{name}={value}" for name, value in values.items()]


def to_bfloat16(values):
    """Bits, rounded to nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def plain_attention(queries, keys, values, documents, d_output):
    """Output, logarithms of sums and gradients in double."""
    queries, keys, values, d_output = (array.astype(np.float64) for array in (queries, keys, values, d_output))
    (tokens, heads, size), share = queries.shape, queries.shape[1] // keys.shape[1]
    is_padding = documents >= tokens
    places = np.arange(tokens)
    is_seen = (documents[:, None] == documents) & (places <= places[:, None]) & ~is_padding[:, None]
    output, logs = np.zeros_like(queries), np.zeros((tokens, heads))
    d_queries, d_keys, d_values = np.zeros_like(queries), np.zeros_like(keys), np.zeros_like(values)
    for head in range(heads):
        group = head // share
        scores = np.where(is_seen, queries[:, head] @ keys[:, group].T / np.sqrt(size), -np.inf)
        largest = np.where(is_padding, 0, scores.max(1))
        exponentials = np.exp(scores - largest[:, None])
        sums = np.where(is_padding, 1, exponentials.sum(1))
        weights = exponentials / sums[:, None]
        logs[:, head] = largest + np.log(sums)
        output[:, head] = weights @ values[:, group]
        d_weights = d_output[:, head] @ values[:, group].T
        d_scores = weights * (d_weights - (weights * d_weights).sum(1, keepdims=True)) / np.sqrt(size)
        d_queries[:, head] = d_scores @ keys[:, group]
        d_keys[:, group] += d_scores.T @ queries[:, head]
        d_values[:, group] += weights.T @ d_output[:, head]
    return output, logs, d_queries, d_keys, d_values


class Emulator:
    """The three kernels for one shape."""

    def __init__(self, folder, tokens, heads, groups, size, is_float):
        self.shape, self.is_float = (tokens, heads, groups, size), is_float
        path = folder / "attention.so"
        completed = subprocess.run(
            ["c++", "-std=c++20", "-O1", "-w", "-shared", "-fPIC", *numbers(tokens, heads, groups, size, is_float),
             REPOSITORY / "Tests/Interop/attention_emulator.cpp", "-o", path], capture_output=True, text=True)
        assert completed.returncode == 0, completed.stderr
        self.library = ctypes.CDLL(str(path))

    def run(self, queries, keys, values, documents, d_output, reverses):
        tokens, heads, groups, size = self.shape

        def call(function, *arrays):
            function(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays), ctypes.c_int(reverses))

        def empty(*shape):
            return np.full(shape, np.nan, np.float32)

        operands = [array if self.is_float else to_bfloat16(array) for array in (queries, keys, values)] + [documents]
        forward = empty(tokens * heads * (size + 1))
        call(self.library.run_forward, *operands, forward)
        output, logs = np.split(forward, [tokens * heads * size])
        output, logs = output.reshape(tokens, heads, size), logs.reshape(tokens, heads)
        averages = (output * d_output).sum(2).astype(np.float32)
        operands += [d_output if self.is_float else to_bfloat16(d_output), logs, averages]
        d_queries, d_keys_values = empty(tokens, heads, size), empty(2, tokens, groups, size)
        call(self.library.run_queries, *operands, d_queries)
        call(self.library.run_keys_values, *operands, d_keys_values)
        return output, logs, d_queries, *d_keys_values


#: tokens, heads of queries and of keys, size of a head, lengths of documents; what is left is padding.
CASES = [
    (200, 2, 1, 32, [100, 37, 1, 40]),  # tokens that fill no block, and padding
    (128, 4, 2, 48, [128]),  # one document of whole blocks
    (150, 2, 2, 96, [3, 64, 64, 19]),  # documents that begin where no tile does, each head with its own keys
    (24, 3, 1, 32, [24]),  # less than a block; three heads share keys
    (8, 2, 1, 64, [1] * 5),  # less than a tile
    (70, 2, 1, 128, [70]),
]


@pytest.mark.parametrize("is_float", [True, False], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}x{case[1]}x{case[2]}x{case[3]}")
def test_the_kernels_compute_attention(case, is_float, tmp_path):
    tokens, heads, groups, size, lengths = case
    if is_float and size > 96:
        pytest.skip("KernelCompiler.hasKernel says no")
    generator = np.random.default_rng(size)
    queries, keys, values, d_output = (
        generator.standard_normal((tokens, count, size)).astype(np.float32) for count in (heads, groups, groups, heads))
    if not is_float:
        queries, keys, values, d_output = (from_bfloat16(to_bfloat16(array)) for array in (queries, keys, values, d_output))
    documents = np.full(tokens, tokens, np.int32)
    documents[:sum(lengths)] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    expected = plain_attention(queries, keys, values, documents, d_output)
    emulator = Emulator(tmp_path, tokens, heads, groups, size, is_float)
    found, again = (emulator.run(queries, keys, values, documents, d_output, order) for order in (False, True))
    for name, ours, theirs, twin in zip(["output", "logs", "dQueries", "dKeys", "dValues"], found, again, expected):
        assert np.array_equal(ours, theirs), f"{name}: the order in which warps run changes it"
        # Rounded to bfloat16: weights are off by 2⁻⁹ of themselves at most, and a sum of many by less than that of its size.
        bound = (1e-5 if name in ("output", "logs") else 1e-4) if is_float else 2 ** -8 * max(1, np.abs(twin).max())
        assert np.abs(ours - twin).max() < bound, f"{name}: {np.abs(ours - twin).max()}"
        assert not ours[documents >= tokens].any(), f"{name} of padding"


@pytest.fixture(scope="module")
def nvidia():
    """The folder of NVIDIA's packages that `make interop` installs."""
    [folder] = REPOSITORY.glob(".venv-gpu-plan/lib/python3*/site-packages/nvidia/cu13")
    return folder


def compiled(nvidia, options):
    """PTX by NVRTC with the program's own options."""
    library = ctypes.CDLL(str(nvidia / "lib/libnvrtc.so.13"))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert library.nvrtcCreateProgram(ctypes.byref(program), SOURCE.read_bytes(), b"attention.cu", 0, None, None) == 0
    options = [option.encode() for option in ["--gpu-architecture=compute_80", "--std=c++17", *options]]
    code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    assert code == 0, code
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, text)
    return text.value.decode()


#: Registers of a thread for heads of a size, at most, of the forward pass and the two of gradients. 65,536 of an SM are for blocks
#: of 128 threads: with 168, three of them run at a time.
CEILINGS = {32: (88, 116, 136), 48: (104, 138, 168), 96: (122, 160, 200), 128: (136, 174, 232)}


@pytest.mark.parametrize("card", ["sm_86", "sm_89", "sm_90"])
@pytest.mark.parametrize("size", CEILINGS)
def test_the_kernels_fit_the_cards(size, card, nvidia, tmp_path):
    for kernel, ceiling in enumerate(CEILINGS[size]):
        # As KernelCompiler declares it, for older drivers.
        ptx = re.sub(r"\.version .*", ".version 7.0", compiled(nvidia, numbers(32768, 16, 8, size, False, kernel)))
        # The threads that KernelCompiler launches.
        assert re.findall(r"\.maxntid (\d+)", ptx) == ["128" if size <= 96 else "64"]
        (tmp_path / "attention.ptx").write_text(ptx)
        completed = subprocess.run(
            [nvidia / "bin/ptxas", "-v", "-arch", card, tmp_path / "attention.ptx", "-o", tmp_path / "attention.cubin"],
            capture_output=True, text=True)
        assert completed.returncode == 0, completed.stderr
        assert re.search(r"\b0 bytes spill stores, 0 bytes spill loads", completed.stderr), completed.stderr
        registers, shared = (int(re.search(rf"(\d+) {word}", completed.stderr)[1]) for word in ("registers", "bytes smem"))
        assert registers <= ceiling and shared <= 48 << 10, completed.stderr
