"""Every parameter of OpenAI's own Python client: honoured, without effect on an answer, or refused by name. The names that
this client, Anthropic's, vLLM and llama.cpp have are in request_fields.json; each is in a table of the server.

The client's methods say which parameters there are. One that a newer client adds belongs to none of the three, and fails.
"""

import inspect
import json
from pathlib import Path

import openai
import pytest
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from openai.resources.responses import Responses
from random_model import make_model
from serving import Server

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
REQUESTS = {
    CHAT: {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "temperature": 0},
    COMPLETION: {"prompt": "Hello", "max_tokens": 3, "temperature": 0}, EMBEDDING: {"input": "Hello"}}
METHODS = {
    CHAT: openai.resources.chat.Completions.create, COMPLETION: openai.resources.Completions.create,
    EMBEDDING: openai.resources.Embeddings.create}

#: With a value that is wrong, which must be refused: the server reads the parameter.
GENERATION = {
    "model": 3, "frequency_penalty": 3, "presence_penalty": "a", "logit_bias": {"x": 1}, "max_tokens": "a", "n": 0,
    "seed": "a", "stop": 3, "stream": "a", "stream_options": {"include_usage": True}, "temperature": -1, "top_p": 2}
HONOURED = {
    CHAT: GENERATION | {
        "messages": "a", "logprobs": 3, "top_logprobs": 30, "max_completion_tokens": "a", "response_format": "a",
        "tools": "a", "tool_choice": "a", "parallel_tool_calls": "a"},
    COMPLETION: GENERATION | {"prompt": 3, "echo": "a", "logprobs": True},
    EMBEDDING: {"model": 3, "input": 3, "dimensions": 3, "encoding_format": "a"}}

#: With a value as clients send it, which must change nothing.
WITHOUT_EFFECT = {
    CHAT: {
        "metadata": {"a": "b"}, "prediction": {"type": "content", "content": "a"}, "prompt_cache_key": "a",
        "prompt_cache_options": {"mode": "implicit"}, "prompt_cache_retention": "24h", "safety_identifier": "a",
        "reasoning_effort": "high", "service_tier": "flex", "store": True, "user": "a", "verbosity": "low"},
    COMPLETION: {"user": "a"}, EMBEDDING: {"user": "a"}}

#: With a value that asks for what the server does not do, and one that asks for nothing; none where every value asks.
REFUSED = {
    CHAT: {
        "audio": ({"voice": "a", "format": "wav"}, None), "function_call": ("auto", "none"),
        "functions": ([{"name": "a"}], []), "modalities": (["text", "audio"], ["text"]),
        "moderation": ({"model": "a"}, None), "web_search_options": ({}, None)},
    COMPLETION: {"best_of": (2, 1), "suffix": ("a", "")}, EMBEDDING: {}}


def cases(table):
    return [(path, name, value) for path, values in table.items() for name, value in values.items()]


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory, tokenizer_directory):
    with Server(binary, make_model(tmp_path_factory.mktemp("serve") / "my-model", tokenizer_directory)) as server:
        yield server


def content(reply):
    """What the model made: the reply without what differs from request to request."""
    return reply.get("choices") or reply["data"]


@pytest.mark.parametrize("path", METHODS)
def test_all_parameters_are_known(path):
    known = [*HONOURED[path], *WITHOUT_EFFECT[path], *REFUSED[path]]
    ours = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}  # the client's own, never sent
    assert sorted(known) == sorted(set(inspect.signature(METHODS[path]).parameters) - ours)


def test_the_recorded_names_are_those_of_the_packages():
    recorded = json.loads((Path(__file__).parent / "request_fields.json").read_text(encoding="utf-8"))
    ours = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    for path, method in (METHODS | {"/v1/responses": Responses.create}).items():
        assert recorded[path]["openai"] == sorted(set(inspect.signature(method).parameters) - ours)
    known = set(recorded["/v1/messages"]["anthropic"])
    for method in (Messages.create, BetaMessages.create):
        assert set(inspect.signature(method).parameters) - ours <= known


@pytest.mark.parametrize("path, fields", [
    (CHAT, {"bad_words": ["a"]}), (CHAT, {"mirostat": 2}), (CHAT, {"echo": True}), (CHAT, {"prompt_logprobs": 1}),
    (CHAT, {"truncate_prompt_tokens": 4}), (CHAT, {"typical_p": 0.9}), (CHAT, {"documents": [{"text": "a"}]}),
    (CHAT, {"repeat_last_n": 64, "repeat_penalty": 1.2}), (CHAT, {"add_generation_prompt": False}),
    (COMPLETION, {"prompt_embeds": "a"}), (COMPLETION, {"dry_multiplier": 0.8}), (COMPLETION, {"n_probs": 3}),
    (EMBEDDING, {"truncate_prompt_tokens": 4}), (EMBEDDING, {"messages": []})])
def test_fields_of_other_servers_are_named(server, path, fields):
    status, reply = server.post(path, **REQUESTS[path] | fields)
    assert status == 400 and reply["error"]["param"] == next(iter(fields)), reply


def test_fields_of_other_servers_are_honoured(server):
    def complete(**fields):
        return server.post(COMPLETION, **REQUESTS[COMPLETION] | fields)[1]["choices"][0]

    assert complete(repeat_penalty=1.3, n_predict=6, max_tokens=None) == complete(repetition_penalty=1.3, max_tokens=6)
    first = server.post("/tokenize", content=complete(max_tokens=1)["text"])[1]["tokens"][0]
    ended = complete(stop_token_ids=[first])
    assert ended["text"] == "" and ended["finish_reason"] == "stop"
    assert len(complete(stop_token_ids=[first], min_tokens=3, logprobs=0)["logprobs"]["tokens"]) == 3
    assert complete(mirostat=0, typical_p=1.0, xtc_probability=0, bad_words=[], cache_prompt=True) == complete()


@pytest.mark.parametrize("path, name, value", cases(HONOURED))
def test_an_honoured_parameter_is_read(server, path, name, value):
    status, reply = server.post(path, **REQUESTS[path] | {name: value})
    assert status == 400 and reply["error"]["param"] == name and reply["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path, name, value", cases(WITHOUT_EFFECT))
def test_a_parameter_without_effect_changes_nothing(server, path, name, value):
    status, reply = server.post(path, **REQUESTS[path] | {name: value})
    assert status == 200 and content(reply) == content(server.post(path, **REQUESTS[path])[1])


@pytest.mark.parametrize("path, name, values", cases(REFUSED))
def test_a_refused_parameter_is_named(server, path, name, values):
    asking, harmless = values
    status, reply = server.post(path, **REQUESTS[path] | {name: asking})
    assert status == 400 and reply["error"]["param"] == name and reply["error"]["code"] == "unsupported_parameter"
    assert server.post(path, **REQUESTS[path] | {name: harmless})[0] == 200


@pytest.mark.parametrize("message, parameter", [
    ({"audio": {"id": "a"}}, "messages[1].audio"), ({"function_call": {"name": "a"}}, "messages[1].function_call"),
    ({"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "a", "input": "a"}}]}, "messages[1].tool_calls")])
def test_parts_of_earlier_answers_that_are_not_read_are_named(server, message, parameter):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant"} | message, {"role": "user", "content": "b"}]
    status, reply = server.post(CHAT, messages=messages)
    assert status == 400 and reply["error"]["param"] == parameter


def test_padding_of_streams_is_refused(server):
    options = {"include_obfuscation": True}
    status, reply = server.post(CHAT, **REQUESTS[CHAT], stream=True, stream_options=options)
    assert status == 400 and reply["error"]["param"] == "include_obfuscation"
