"""`minimind generate`, `chat`, `info`, `eval perplexity`, `bench decode` on models with random weights.

The heavy tests compare greedy text and loss with transformers' Llama on the same directory.
"""

import json
import math
import os
import signal
import subprocess

import pytest
from conftest import PATIENCE, peak_memory, wait_until
from random_model import make_model
from terminal import Terminal

TEXTS = ["Hello there, how are you?", "你好，世界。今天天气很好。", "The quick brown fox jumps over the lazy dog.",
         "the " * 50, "A question, and its answer."]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, minimind):
    folder = tmp_path_factory.mktemp("tokenizer")
    text = folder / "text.txt"
    text.write_text("\n".join(TEXTS * 3) + "\n", encoding="utf-8")
    minimind("tokenizer", "train", "--input", text, "--output", folder / "tokenizer", "--vocab-size", 320)
    return folder / "tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_model(tmp_path_factory.mktemp("model") / "model", tokenizer, scale=0.15)


def test_generate_repeats_with_its_seed_and_prints_what_json_says(minimind, model):
    arguments = ["generate", "--model", model, "--prompt", "Hello", "--max-tokens", 40, "--temperature", 1.5]
    first = minimind(*arguments, "--seed", 5).stdout
    assert minimind(*arguments, "--seed", 5).stdout == first
    assert minimind(*arguments, "--seed", 6).stdout != first
    result = json.loads(minimind(*arguments, "--seed", 5, "--json").stdout)
    # Standard output was read as text, in which Python takes every end of a line for "\n".
    assert result["text"].replace("\r", "\n") + "\n" == first
    assert result["finish_reason"] == ("length" if result["tokens"] == 40 else "stop")
    assert minimind(*arguments, "--seed", 5, "--threads", 1).stdout == first


def test_generate_reads_the_prompt_from_standard_input(minimind, model):
    given = minimind("generate", "--model", model, "--prompt", "你好", "--max-tokens", 20).stdout
    assert minimind("generate", "--model", model, "--max-tokens", 20, input="你好\n").stdout == given
    assert minimind("generate", "--model", model, "--prompt", "-", "--max-tokens", 20, input="你好").stdout == given
    assert minimind("generate", "--model", model, "--prompt", "<s>你好", "--max-tokens", 20).stdout == given


def test_generate_streams_whole_characters(binary, model):
    command = [binary, "generate", "--model", model, "--prompt", "a", "--max-tokens", "200", "--temperature", "3",
               "--top-k", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        pieces = []
        while piece := os.read(process.stdout.fileno(), 65536):
            pieces.append(piece)
    assert process.returncode == 0
    assert len(pieces) > 1
    for piece in pieces:
        piece.decode("utf-8")


def test_stop_strings_and_the_context_end_the_text(minimind, model):
    arguments = ["generate", "--model", model, "--prompt", "Hello", "--temperature", 0, "--json"]
    whole = json.loads(minimind(*arguments, "--max-tokens", 30).stdout)
    stop = whole["text"][4:7]
    stopped = json.loads(minimind(*arguments, "--max-tokens", 30, "--stop", "☃", stop).stdout)
    assert stopped["text"] == whole["text"][:whole["text"].index(stop)]
    assert stopped["finish_reason"] == "stop"
    full = json.loads(minimind(*arguments, "--context", 32).stdout)
    assert full["prompt_tokens"] + full["tokens"] <= 33


def test_chat_answers_each_line_and_prints_only_answers(minimind, model):
    arguments = ["chat", "--model", model, "--temperature", 0, "--max-tokens", 10]
    one = minimind(*arguments, input="Hello\n").stdout
    assert one.count("\n") >= 1 and one.endswith("\n")
    two = minimind(*arguments, input="Hello\n\nHow are you?\n").stdout
    assert two.startswith(one) and len(two) > len(one)
    assert minimind(*arguments, input="").stdout == ""
    # Control tokens in a message are text, and a system message changes what the model sees.
    assert minimind(*arguments, input="</s> <s>\n").returncode == 0
    assert minimind(*arguments, "--system", "be brief and kind", input="Hello\n").returncode == 0


def test_chat_on_a_terminal(binary, tmp_path, tokenizer):
    # An answer that goes on until it is stopped: of 100 000 tokens, in a model that never ends.
    model = make_model(tmp_path / "model", tokenizer, context=100_000)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"eos_token_id": 0}))
    state = tmp_path / "state"
    terminal = Terminal(binary, "chat", "--model", model, "--top-k", 5, environment={"XDG_STATE_HOME": str(state)})

    def enter(text, wanted):
        terminal.wait_for_prompt()
        terminal.write(text.encode())
        return terminal.read_until(wanted.encode())

    enter("/rest\n", "Did you mean /reset?")
    enter("Hello\n", "Hello\r\n")
    terminal.wait_for_output()
    terminal.write(b"\x03")
    terminal.read_until(b"tokens/s")
    # At the prompt Ctrl-C gives up the line; wide characters are edited whole.
    enter("nonsense\x03", "nonsense")
    terminal.read_until(b"\r\n")
    enter("/params max-tokens 5 temperature 0\n", "temperature          0\r\n")
    terminal.read_until(b"max-tokens           5\r\n")
    enter("/params temprature 1\n", "Did you mean temperature?")
    enter("/params temperature 2 top-p 7\n", "--top-p is 7; it must be between 0 and 1.")
    enter("/params\n", "temperature          0\r\n")
    saved = tmp_path / "talk.jsonl"
    enter("/reset\n", "starts again")
    enter(f"/save {saved}\n", "nothing to save")
    enter("你好吗\x7f\x7f们\x02\x02世\n", "5 tokens")
    enter(f"/save {saved}\n", "Saved 2 messages")
    messages = json.loads(saved.read_text(encoding="utf-8"))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[0]["content"] == "世你们"
    (tmp_path / "mine").write_text("mine")
    enter(f"/save {tmp_path / 'mine'}\n", "exists. Choose another name.")
    assert (tmp_path / "mine").read_text() == "mine"
    enter("/system Be kind.\n", "with this system message")
    enter("/system\n", "The system message is: Be kind.")
    enter("/help\n", "/save FILE")
    terminal.wait_for_prompt()
    terminal.write(b"\x04")
    assert terminal.exit_code() == 0

    # The next session recalls what was typed in this one; nobody else can read it.
    history = state / "minimind" / "chat_history"
    assert history.stat().st_mode & 0o77 == 0 and history.parent.stat().st_mode & 0o77 == 0
    terminal = Terminal(binary, "chat", "--model", model, environment={"XDG_STATE_HOME": str(state)})
    terminal.wait_for_prompt()
    terminal.write(b"\x1b[A\x1b[A\n")
    terminal.read_until(b"There is no system message.")
    terminal.wait_for_prompt()
    terminal.write(b"/exit\n")
    assert terminal.exit_code() == 0


def test_interrupting_generate_keeps_what_was_written(binary, tmp_path, tokenizer):
    model = make_model(tmp_path / "model", tokenizer, context=1_000_000)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"eos_token_id": 0}))
    with subprocess.Popen([binary, "generate", "--model", model, "--prompt", "Hello"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert rest.endswith(b"\n") and errors == b"interrupted.\n"


def test_perplexity_of_any_input(minimind, model, tokenizer, tmp_path):
    lines = tmp_path / "texts.jsonl"
    lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    plain = tmp_path / "texts.txt"
    plain.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    results = [
        json.loads(minimind("eval", "perplexity", "--model", model, "--input", path, "--json").stdout)
        for path in (lines, plain)]
    for result in results:
        assert result["loss"] == results[0]["loss"]
        assert math.isclose(result["perplexity"], math.exp(result["loss"]), rel_tol=1e-12)
        bits = result["loss"] * result["tokens"] / math.log(2)
        assert math.isclose(result["bits_per_byte"], bits / sum(len(text.encode()) for text in TEXTS), rel_tol=1e-12)
    short = json.loads(minimind(
        "eval", "perplexity", "--model", model, "--input", plain, "--sequence-length", 8, "--json").stdout)
    assert short["tokens"] == results[0]["tokens"] and short["loss"] != results[0]["loss"]

    minimind("data", "pretrain", "--input", plain, "--tokenizer", tokenizer, "--output", tmp_path / "data",
             "--held-out", 0.5)
    held_out = json.loads(minimind("eval", "perplexity", "--model", model, "--data", tmp_path / "data", "--json").stdout)
    assert 0 < held_out["tokens"] < results[0]["tokens"]
    assert "loss" in minimind("eval", "perplexity", "--model", model, "--input", plain).stdout


def test_info_counts_parameters(minimind, model):
    machine = json.loads(minimind("info", "--json").stdout)
    assert machine["threads"] >= 1 and (machine["products"] == "own kernel" or machine["products"].startswith("oneDNN "))
    assert machine["products"] in minimind("info").stdout
    facts = json.loads(minimind("info", model, "--json").stdout)
    assert facts["parameters"] == sum(facts["parts"].values())
    assert facts["tokenizer"]["can_chat"] is True
    assert facts["configuration"]["hidden_size"] == 64
    assert json.loads(minimind("info", "small", "--json").stdout)["parameters"] == 26_878_464
    assert str(facts["parameters"]) in minimind("info", model).stdout


def test_benchmarks_report_rates(minimind, model):
    for name in ("decode", "prefill"):
        result = json.loads(minimind("bench", name, "--model", model, "--tokens", 20, "--json", "--threads", 1).stdout)
        assert result["tokens_per_second"] > 0 and result["type"] == "bf16" and result["threads"] == 1
    refused = minimind("bench", "products", "--model", "tiny", "--rows", 64, "--threads", 65, check=False)
    assert refused.returncode == 2 and refused.stderr.startswith("error: --rows 64 cannot be shared out over 65 threads")


def test_bad_models_are_refused_in_one_sentence(minimind, model, tokenizer, tmp_path):
    def refusal(directory, *arguments):
        arguments = arguments or ("generate", "--model", directory, "--prompt", "x")
        completed = minimind(*arguments, check=False)
        assert completed.returncode == 1 and completed.stdout == ""
        assert completed.stderr.startswith("error: ") and completed.stderr.count("\n") == 1
        return completed.stderr

    assert "there is no such directory" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refusal(tmp_path / "empty")
    bare = make_model(tmp_path / "bare", tokenizer)
    (bare / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(bare)
    assert "the tokenizer has 320 tokens, the model only 300" in refusal(
        make_model(tmp_path / "few", tokenizer, vocabulary=300))
    cut = make_model(tmp_path / "cut", tokenizer)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[:len(weights) // 2])
    assert "model.safetensors" in refusal(cut)
    (cut / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(cut)
    wrong = make_model(tmp_path / "wrong", tokenizer)
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    assert "intermediate_size" in refusal(wrong)
    other = make_model(tmp_path / "other", tokenizer)
    config = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "{% for m in messages %}"}))
    assert "chat template" in refusal(other, "chat", "--model", other)
    assert "no room for an answer" in refusal(
        model, "generate", "--model", model, "--context", "16", "--prompt", "a long prompt, far too long " * 9)
    (tmp_path / "blank.txt").write_text("\n\n")
    refusal(model, "eval", "perplexity", "--model", model, "--input", tmp_path / "blank.txt")
    for arguments in (["eval", "perplexity", "--model", model], ["generate", "--model", model, "--top-p", "2"]):
        assert minimind(*arguments, check=False).returncode == 2


@pytest.mark.heavy
def test_memory_grows_with_a_long_prompt_and_not_with_its_square(binary, tokenizer, tmp_path):
    model = make_model(tmp_path / "model", tokenizer, context=32768)

    def peak(tokens):
        (tmp_path / "prompt.txt").write_text("x" * tokens)
        with open(tmp_path / "prompt.txt") as prompt:
            return peak_memory(subprocess.Popen(
                [binary, "generate", "--model", model, "--max-tokens", "1", "--temperature", "0", "--type", "fp32"],
                stdin=prompt, stdout=subprocess.DEVNULL))

    # Keys and values of a token are 2 layers, 2 heads of 16 each, in fp32: 512 bytes. The square would be 2 GiB and more.
    assert peak(32000) - peak(8000) < 64 << 20


@pytest.mark.heavy
@pytest.mark.parametrize("length", [3, 40])
def test_greedy_text_and_loss_are_those_of_transformers(minimind, model, tmp_path, length):
    import torch
    import transformers

    llama = transformers.LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    prompt = ("the lazy dog " * 20)[:length]
    ids = torch.tensor([[1] + tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    expected = llama.generate(ids, max_new_tokens=30, do_sample=False)[0, ids.shape[1]:]
    text = tokenizer.decode(expected, skip_special_tokens=True)
    result = json.loads(minimind(
        "generate", "--model", model, "--prompt", prompt, "--temperature", 0, "--max-tokens", 30, "--type", "fp32",
        "--json").stdout)
    assert result["text"] == text

    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    total, count = 0.0, 0
    for document in TEXTS:
        ids = torch.tensor([[1] + tokenizer(document.strip("\n"), add_special_tokens=False)["input_ids"] + [2]])
        total += llama(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    result = json.loads(minimind(
        "eval", "perplexity", "--model", model, "--input", path, "--precision", "fp32", "--json").stdout)
    assert result["tokens"] == count
    assert math.isclose(result["loss"], total / count, rel_tol=1e-5)
