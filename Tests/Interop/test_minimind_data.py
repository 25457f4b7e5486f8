"""The commands of docs/minimind-data.md, in order, on rows of the layouts that MiniMind publishes, with a smaller model."""

import json
import os
import subprocess
import sys

from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts/tutorial"))
from run import SERVERS, commands, read_page, small  # noqa: E402

#: minimind-3, but small.
CONFIGURATION = dict(
    architectures=["Qwen3ForCausalLM"], model_type="qwen3", hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, intermediate_size=128, vocab_size=400, max_position_embeddings=32768, rms_norm_eps=1e-6,
    rope_theta=1e6, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
TOOL = {"type": "function", "function": {"name": "calculate_math", "description": "计算", "parameters": {
    "type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}}}


def conversation(number):
    """Plain, with thoughts, or with a tool that is called."""
    question, answer = {"role": "user", "content": f"{number} 加一是多少？"}, {"role": "assistant", "content": f"是 {number + 1}。"}
    if number % 3 == 0:
        return [question, answer, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because I counted."}]
    if number % 3 == 1:
        return [{"role": "system", "content": "You think."}, question, answer | {"reasoning_content": f"{number} + 1 = {number + 1}"}]
    call = {"name": "calculate_math", "arguments": {"expression": f"{number} + 1"}}
    return [{"role": "system", "content": "", "tools": json.dumps([TOOL], ensure_ascii=False)}, question,
            {"role": "assistant", "content": "", "tool_calls": json.dumps([call], ensure_ascii=False)},
            {"role": "tool", "content": json.dumps({"result": number + 1})}, answer]


def pair(number):
    question = {"role": "user", "content": f"Say {number}."}
    return {name: [question, {"role": "assistant", "content": text}] for name, text in (("chosen", str(number)), ("rejected", "No."))}


def test_the_commands_from_data_to_model(binary, tmp_path):
    files = {
        "pretrain_t2t_mini.jsonl": [{"text": f"第 {n} 段：the river runs to the sea, 河流入海。" * 3} for n in range(200)],
        "sft_t2t_mini.jsonl": [{"conversations": conversation(n)} for n in range(120)],
        "dpo.jsonl": [pair(n) for n in range(60)], "lora_medical.jsonl": [{"conversations": conversation(3 * n)} for n in range(60)]}
    for name, rows in files.items():
        (tmp_path / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "minimind-3.json").write_text(json.dumps(CONFIGURATION))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/minimind").symlink_to(binary)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for written in commands(REPOSITORY / "docs/minimind-data.md"):
        command = small(written.replace("--model minimind-3", "--model minimind-3.json").replace("--vocab-size 6400", "--vocab-size 400"))
        # A pair of conversations goes through the model at once.
        command = command.replace("batch-tokens 1024", "batch-tokens 2048")
        if command.startswith(SERVERS):
            assert read_page(command, tmp_path, environment), command
            continue
        took = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert took.returncode == 0, (command, took.stdout)

    # Nothing of a row was left out in silence, and what came back from the .pth is what went in.
    for data, rows in (("my-conversations", 120), ("my-pairs", 60), ("my-topic", 60)):
        manifest = json.loads((tmp_path / data / "manifest.json").read_text())
        assert manifest["rowsKept"] == rows and not manifest["unusedFields"] and manifest["rowsBroken"] == 0, manifest

    def losses(model):
        return subprocess.run([binary, "eval", "perplexity", "--model", model, "--input", "part.txt", "--precision", "fp32", "--json"],
                              cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout

    (tmp_path / "part.txt").write_text("the river runs\n")
    ours, theirs = (json.loads(losses(name))["loss"] for name in ("my-preferred", "their-chat"))
    assert abs(ours - theirs) < 1e-3, (ours, theirs)
