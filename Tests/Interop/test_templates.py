"""Chat templates against Jinja2 as `transformers` sets it up: every template of llama.cpp's collection with generated
conversations, and the small templates of the light tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chat_cases import NOW, Cases, environment_template, expected
from conftest import REPOSITORY

pytestmark = pytest.mark.heavy
CONVERSATIONS = 200


@pytest.fixture(scope="module")
def collection():
    folder = Path(sys.prefix) / "chat-templates"
    if not folder.is_dir():
        pytest.skip(f"no chat templates in {folder} (make interop fetches them)")
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}


@pytest.fixture(scope="module")
def render(binary):
    """Renders pairs of a template and values in one process: what interop-probe prints for each."""

    def run(pairs):
        lines = "".join(json.dumps({"template": template, "values": values, "now": NOW}) + "\n" for template, values in pairs)
        completed = subprocess.run([Path(binary).with_name("interop-probe"), "templates"], input=lines, capture_output=True, text=True)
        assert completed.returncode == 0, completed.stderr
        return [json.loads(line) for line in completed.stdout.removesuffix("\n").split("\n")]

    return run


def oracle(source, cases):
    try:
        template = environment_template(source)
    except Exception:
        return [(None, None, True) for _ in cases]
    return [expected(template, values) for values in cases]


def is_equal(ours, text, ranges, refusal):
    """Whether a result of ours is the oracle's: the same text and ranges, or the same refusal, in the template's own words
    where it raises it itself. What only ours does not support is a difference."""
    if refusal is None:
        return "pieces" in ours and "".join(piece for piece, _ in ours["pieces"]) == text and ours["generation"] == [list(pair) for pair in ranges]
    return "kind" in ours and ours["kind"] != "unsupported" and (ours["reason"] == refusal if ours["kind"] == "raised" else refusal is True)


def test_every_template_of_llama_cpp_renders_as_in_transformers(collection, render):
    conversations = Cases(1)
    cases = [conversations.values() for _ in range(CONVERSATIONS)]
    ours = iter(render([(source, values) for source in collection.values() for values in cases]))
    rendered, differing = {}, []
    for name, source in collection.items():
        for number, truth in enumerate(oracle(source, cases)):
            result = next(ours)
            rendered[name] = rendered.get(name, 0) + (truth[2] is None)
            if not is_equal(result, *truth): differing.append((name, number, result, truth))
    assert not differing, (len(differing), differing[:3])
    assert len(rendered) >= 70 and sum(rendered.values()) > 8000, rendered
    # A template that refuses every conversation would be no test of it.
    assert [name for name, count in rendered.items() if count < 10] == [], rendered


def test_no_content_is_taken_for_the_templates_own_text(collection, render):
    """Contents of runes, which no template has: all are in pieces marked as content."""
    messages = [{"role": "system", "content": "ᚠᚢ ᚦ"}, {"role": "user", "content": " ᚨᚱ\n"}, {"role": "assistant", "content": "ᚷ"}, {"role": "user", "content": "ᚹᚻ"}]
    tools = [{"type": "function", "function": {"name": "ᚾ", "description": "ᛁ\"ᛃ", "parameters": {"type": "object", "properties": {"ᛇ": {"type": "string", "description": "ᛈ"}}, "required": ["ᛇ"]}}}]
    pairs = [(source, {"messages": messages, "tools": with_tools, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}) for source in collection.values() for with_tools in (None, tools)]
    checked = 0
    for result in render(pairs):
        for text, is_content in result.get("pieces", []):
            runes = [letter for letter in text if "\u16a0" <= letter <= "\u16ff"]
            assert is_content or not runes, text
            checked += len(runes)
    assert checked > 500


def test_the_cases_of_the_light_tests_are_jinjas(render):
    """Tests/TestSupport/Fixtures/jinja_cases.json holds what Jinja2 renders."""
    file = json.loads((REPOSITORY / "Tests/TestSupport/Fixtures/jinja_cases.json").read_text(encoding="utf-8"))
    for template, text in file["cases"]:
        assert oracle(template, [file["values"]])[0][0] == text, template


def test_the_clock_of_a_template(render):
    source = "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %d %j %p %I %f|%z|%Z|%%|ü') }}"
    assert is_equal(render([(source, {})])[0], *oracle(source, [{}])[0])
