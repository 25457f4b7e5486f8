"""Requests that programs send which are too large to be installed for a test: each file of `fixtures` says of which one,
and whether they were recorded from a run or written down from its source. Each must be answered as the program expects."""

import json
from pathlib import Path

import pytest
from random_model import make_model
from serving import Server, events

FILES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))
REQUESTS = [(path.stem, number, request) for path in FILES
            for number, request in enumerate(json.loads(path.read_text(encoding="utf-8"))["requests"])]


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory, tokenizer_directory):
    model = make_model(tmp_path_factory.mktemp("serve") / "my-model", tokenizer_directory, context=2048, scale=0.15)
    with Server(binary, model) as server:
        yield server


@pytest.mark.parametrize("client, number, request_", REQUESTS, ids=[f"{client}-{number}" for client, number, _ in REQUESTS])
def test_a_recorded_request_is_answered(server, client, number, request_):
    fields = request_.get("body")
    body = None if fields is None else json.dumps(fields).encode()
    status, headers, reply = server.request(request_["method"], request_["path"], body, request_["headers"])
    assert status == 200, reply
    if fields and fields.get("stream"):
        assert headers["Content-Type"].startswith("text/event-stream")
        check_stream(events(reply), fields)
    else:
        assert headers["Content-Type"] == "application/json"
        CHECKS[request_["path"]](json.loads(reply), fields)


def check_stream(chunks, fields):
    """What both clients read of a stream: the texts, the reason for the end, and nothing behind it."""
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] in ("stop", "length", "tool_calls") and choices[-1]["delta"] == {}
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert not any(stop in text for stop in fields.get("stop", []))


def check_answer(reply, fields):
    message = reply["choices"][0]["message"]
    assert message["role"] == "assistant" and isinstance(message["content"], str) and reply["usage"]["prompt_tokens"] > 0
    form = fields.get("response_format", {}).get("type")
    if form and reply["choices"][0]["finish_reason"] == "stop":
        answer = json.loads(message["content"])
        assert isinstance(answer, dict) and (form == "json_object" or answer["city"] in ("Rome", "Paris"))


def check_embeddings(reply, fields):
    texts = fields["input"]
    assert [entry["index"] for entry in reply["data"]] == list(range(len(texts))) and reply["usage"]["total_tokens"] > 0
    assert all(isinstance(number, float) for entry in reply["data"] for number in entry["embedding"])


def check_models(reply, _):
    assert [model["id"] for model in reply["data"]] == ["my-model"]


CHECKS = {"/v1/chat/completions": check_answer, "/v1/embeddings": check_embeddings, "/v1/models": check_models}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recording_says_where_it_is_from(path):
    recording = json.loads(path.read_text(encoding="utf-8"))
    assert recording["client"] and len(recording["requests"]) >= 8
    assert recording["source"].startswith(("Recorded from a real run", "Written down from reading its source"))
