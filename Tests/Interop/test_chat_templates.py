"""Chat templates wired to tokens: `tokenizer render` against `transformers`' `apply_chat_template`, on tokenizers of ours."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from chat_cases import Cases

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

TEMPLATES = ["Qwen-Qwen3-0.6B", "Qwen-Qwen2.5-7B-Instruct", "microsoft-Phi-3.5-mini-instruct", "HuggingFaceTB-SmolLM3-3B", "deepseek-ai-DeepSeek-V3.1", "Mistral-Small-3.2-24B-Instruct-2506"]


@pytest.fixture(scope="module")
def own(minimind, tmp_path_factory):
    """A tokenizer of minimind-3's form, learned from conversations as they are."""
    folder = tmp_path_factory.mktemp("own")
    cases = Cases(7)
    (folder / "text.txt").write_text("\n".join(cases.text().replace("\n", " ") for _ in range(2000)), encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--vocab-size", 700, "--template", "minimind-3", "--output", folder / "tokenizer")
    return folder / "tokenizer"


def conversations(count, seed):
    """Of one tool-using kind that most templates render, among those of every shape."""
    cases = Cases(seed)
    return [{name: value for name, value in cases.values().items() if not name.endswith("_token")} for _ in range(count)]


def theirs(tokenizer, values):
    """The text and ids, or None where the template refuses."""
    values = dict(values)
    messages = values.pop("messages")
    try:
        return (tokenizer.apply_chat_template(messages, tokenize=False, **values), tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **values))
    except Exception:
        return None


def ours(minimind, directory, values):
    """One process for all, and one for each only where that refuses."""
    lines = [json.dumps(value) for value in values]
    completed = minimind("tokenizer", "render", "--tokenizer", directory, "--json", input="\n".join(lines) + "\n", check=False)
    if completed.returncode == 0:
        found = [json.loads(line) for line in completed.stdout.removesuffix("\n").split("\n")]
        assert len(found) == len(values)
        return [(value["text"], value["ids"]) for value in found]
    assert "chat template" in completed.stderr, completed.stderr
    if len(lines) == 1: return [None]
    half = len(lines) // 2
    return ours(minimind, directory, values[:half]) + ours(minimind, directory, values[half:])


@pytest.mark.parametrize("name", ["own", "v1", *TEMPLATES])
def test_renders_to_the_text_and_ids_of_transformers(minimind, own, tokenizer_directory, tmp_path, name):
    import transformers

    directory = tmp_path / "tokenizer"
    shutil.copytree(tokenizer_directory if name == "v1" else own, directory)
    if name in TEMPLATES:
        source = Path(sys.prefix) / "chat-templates" / f"{name}.jinja"
        if not source.is_file(): pytest.skip(f"no chat template {source}")
        shutil.copy(source, directory / "chat_template.jinja")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    values = conversations(24, 11)
    expected = [theirs(tokenizer, value) for value in values]
    assert sum(pair is not None for pair in expected) >= 5, name
    for value, pair, found in zip(values, expected, ours(minimind, directory, values), strict=True):
        assert found == pair, value


def test_a_template_for_tools_is_used_where_there_are_tools(minimind, own, tmp_path):
    import transformers

    directory = tmp_path / "tokenizer"
    shutil.copytree(own, directory)
    configuration = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    configuration["chat_template"] = [{"name": "default", "template": "plain {{ messages[0].content }}"}, {"name": "tool_use", "template": "tools {{ tools | tojson }}{{ eos_token }}"}]
    (directory / "tokenizer_config.json").write_text(json.dumps(configuration))
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    message = {"role": "user", "content": "é<|im_end|>"}
    values = [{"messages": [message]}, {"messages": [message], "tools": [{"type": "function", "function": {"name": "f"}}]}]
    assert ours(minimind, directory, values) == [theirs(tokenizer, value) for value in values]
