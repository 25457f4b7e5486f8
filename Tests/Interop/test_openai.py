"""`minimind serve` through OpenAI's own Python client: each documented use of the API that a text model can have."""

import asyncio
import base64
import http.client
import json
import math
import os
import shutil
import struct
import threading

import openai
import pytest
from conftest import PATIENCE, wait_until
from random_model import make_model
from safetensors.numpy import load_file, save_file
from serving import Server, events

QUESTION = [{"role": "user", "content": "世界上最高的山是什么？"}]


def chat(client, **fields):
    return client.chat.completions.create(**{"model": "any", "messages": QUESTION, "max_tokens": 20} | fields)


def test_a_stream_joined_is_the_whole_answer(client):
    whole = chat(client, seed=7)
    assert whole.object == "chat.completion" and whole.model == "my-model" and whole.id.startswith("chatcmpl-")
    assert whole.choices[0].message.role == "assistant" and whole.system_fingerprint
    usage = whole.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.completion_tokens <= 20
    chunks = list(chat(client, seed=7, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert {(chunk.id, chunk.object, chunk.created, chunk.model) for chunk in chunks} == {
        (chunks[0].id, "chat.completion.chunk", chunks[0].created, "my-model")}
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == ""
    assert [chunk.choices[0].finish_reason for chunk in chunks] == (
        [None] * (len(chunks) - 1) + [whole.choices[0].finish_reason])
    assert chunks[-1].choices[0].delta.content is None
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.model_extra == {} for chunk in chunks[:-1])
    check_timings(chunks[-1].timings, usage)
    *others, last = chat(client, seed=7, stream=True, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.completion_tokens == usage.completion_tokens
    check_timings(last.timings, last.usage)
    assert all(chunk.model_extra == {} for chunk in others)
    check_timings(whole.timings, usage)


def check_timings(timings, usage):
    """llama.cpp's object, whose numbers agree with each other and with the usage."""
    assert timings["predicted_n"] == usage.completion_tokens
    assert timings["prompt_n"] + timings["cache_n"] == usage.prompt_tokens
    for name in ("prompt", "predicted"):
        count, milliseconds = timings[name + "_n"], timings[name + "_ms"]
        assert milliseconds > 0 and count > 0
        assert timings[name + "_per_token_ms"] == pytest.approx(milliseconds / count)
        assert timings[name + "_per_second"] == pytest.approx(1000 * count / milliseconds)


def test_frames_of_a_stream(server):
    status, headers, body = server.request(
        "POST", "/v1/chat/completions", {"messages": QUESTION, "stream": True, "max_tokens": 5, "ignore_eos": True,
                                         "stream_options": {"include_usage": True}})
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-cache"
    frames = events(body)
    assert [len(frame["choices"]) for frame in frames] == [1] * (len(frames) - 1) + [0]
    assert all(frame["usage"] is None for frame in frames[:-1]) and frames[-1]["usage"]["completion_tokens"] == 5


def test_the_example_of_minimind_v1_works_as_printed(server):
    body = {"model": "model-identifier", "messages": QUESTION, "temperature": 0.7, "max_tokens": -1, "stream": True}
    status, _, body = server.request("POST", "/v1/chat/completions", body)
    assert status == 200 and events(body)[-1]["choices"][0]["finish_reason"] in ("stop", "length")


def test_many_at_once_each_get_their_own_answer(server, client):
    prompts = ["Hello", "你好", "The quick brown fox", "a", "the the the", "Answer:"] * 4
    alone = {text: client.completions.create(model="m", prompt=text, temperature=0, max_tokens=40).choices[0].text
             for text in set(prompts)}

    async def ask_all():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="any") as client:
            async def ask(text):
                stream = await client.completions.create(
                    model="m", prompt=text, temperature=0, max_tokens=40, stream=True)
                return "".join([chunk.choices[0].text async for chunk in stream])
            return await asyncio.gather(*map(ask, prompts))

    assert asyncio.run(ask_all()) == [alone[text] for text in prompts]


def test_seeds_and_several_answers(client):
    answers = chat(client, seed=3, n=4, temperature=1.5).choices
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    assert len({answer.message.content for answer in answers}) > 1
    again = chat(client, seed=3, n=4, temperature=1.5).choices
    assert [answer.message.content for answer in again] == [answer.message.content for answer in answers]
    texts = [""] * 4
    for chunk in chat(client, seed=3, n=4, temperature=1.5, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [answer.message.content for answer in answers]
    assert len({chat(client, temperature=1.5).choices[0].message.content for _ in range(4)}) > 1


@pytest.mark.parametrize("streamed", [False, True])
def test_stop_strings(client, streamed):
    def complete(**fields):
        answer = client.completions.create(
            model="m", prompt="Hello", temperature=0, max_tokens=40, stream=streamed, **fields)
        chunks = list(answer) if streamed else [answer]
        return "".join(chunk.choices[0].text for chunk in chunks), chunks[-1].choices[0].finish_reason

    whole, _ = complete()
    for length in (1, 3, 7):
        stop = whole[5:5 + length]
        assert complete(stop=["never there ☃", stop]) == (whole[:whole.index(stop)], "stop")
        # Tasks of lm-eval have more than OpenAI takes.
        assert complete(stop=[f"never there {n} ☃" for n in range(10)] + [stop]) == (whole[:whole.index(stop)], "stop")
    assert complete(stop="never there ☃")[0] == whole


def test_log_probabilities_of_a_conversation(client):
    choice = chat(client, logprobs=True, top_logprobs=5, temperature=0, max_tokens=10).choices[0]
    assert len(choice.logprobs.content) <= 10
    for entry in choice.logprobs.content:
        assert entry.top_logprobs[0].logprob == entry.logprob and len(entry.top_logprobs) == 5
        assert sum(math.exp(other.logprob) for other in entry.top_logprobs) <= 1.0001
    text = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content).decode("utf-8", "replace")
    assert text == choice.message.content
    plain = chat(client, logprobs=True, temperature=0, max_tokens=10).choices[0]
    assert [entry.logprob for entry in plain.logprobs.content] == [entry.logprob for entry in choice.logprobs.content]
    assert plain.logprobs.content[0].top_logprobs == []
    streamed = [entry for chunk in chat(client, logprobs=True, temperature=0, max_tokens=10, stream=True)
                if chunk.choices[0].logprobs for entry in chunk.choices[0].logprobs.content]
    assert [entry.token for entry in streamed] == [entry.token for entry in plain.logprobs.content]


def test_completions_of_texts_and_tokens(minimind, client, model):
    ids = json.loads(minimind("tokenizer", "encode", "--tokenizer", model, "--json", input="Hello\n").stdout)
    fields = dict(model="m", temperature=0, max_tokens=12)
    text = client.completions.create(prompt="Hello", **fields)
    assert text.object == "text_completion" and text.id.startswith("cmpl-")
    tokens = client.completions.create(prompt=[1, *ids], **fields)
    assert tokens.choices[0].text == text.choices[0].text and tokens.usage == text.usage
    several = client.completions.create(prompt=[[1, *ids], [1, *ids, 5]], n=2, **fields)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text == text.choices[0].text
    both = client.completions.create(prompt=["Hello", "你好"], echo=True, **fields)
    assert both.choices[0].text == "Hello" + text.choices[0].text and both.choices[1].text.startswith("你好")
    assert len(client.completions.create(model="m", prompt=["x"] * 100, max_tokens=1).choices) == 100


def test_echo_with_log_probabilities_measures_a_text(client):
    choice = client.completions.create(
        model="m", prompt=[1, 70, 80, 90], echo=True, logprobs=2, max_tokens=1, temperature=0).choices[0]
    report = choice.logprobs
    assert len(report.tokens) == len(report.token_logprobs) == len(report.top_logprobs) == len(report.text_offset) == 5
    assert report.token_logprobs[0] is None and report.top_logprobs[0] is None
    for token, value, top in zip(report.tokens[1:], report.token_logprobs[1:], report.top_logprobs[1:]):
        assert top[token] == value and len(top) <= 3
    assert report.token_logprobs[-1] == max(report.top_logprobs[-1].values())
    only = client.completions.create(model="m", prompt=[1, 70, 80, 90], echo=True, logprobs=2, max_tokens=0).choices[0]
    assert only.logprobs.token_logprobs == pytest.approx([None, *report.token_logprobs[1:4]], abs=1e-4)
    # The same numbers, one after another.
    value = client.completions.create(
        model="m", prompt=[1, 70, 80], logprobs=1, max_tokens=1, temperature=0, logit_bias={"90": 100}).choices[0]
    assert value.logprobs.token_logprobs[0] == pytest.approx(report.token_logprobs[3], abs=1e-2)
    text = client.completions.create(model="m", prompt="Hello 你好", echo=True, logprobs=0, max_tokens=3, temperature=0)
    report = text.choices[0].logprobs
    for token, offset in zip(report.tokens, report.text_offset):
        if not token.startswith("bytes:") and token != "</s>":
            assert text.choices[0].text[offset:].startswith(token)


def test_logit_bias_and_penalties(client):
    fields = dict(model="m", prompt="Hello", temperature=0, max_tokens=8)
    forced = client.completions.create(logit_bias={"70": 100}, logprobs=0, **fields).choices[0]
    assert len(set(forced.logprobs.tokens)) == 1 and forced.finish_reason == "length"
    penalised = client.completions.create(
        logit_bias={"70": 20}, frequency_penalty=2, presence_penalty=2, logprobs=0, **fields).choices[0]
    assert len(penalised.text) > 0
    banned = client.completions.create(logit_bias={"70": -100}, logprobs=0, **fields).choices[0]
    assert forced.logprobs.tokens[0] not in banned.logprobs.tokens


def test_messages_in_every_form(client):
    def ask(*messages):
        return chat(client, temperature=0, messages=list(messages)).choices[0].message.content

    # Parts are lines.
    assert ask({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == ask(
        {"role": "user", "content": "a\nb"})
    instructed = [{"role": "system", "content": "Be brief.\nBe kind."}, *QUESTION]
    expected = chat(client, temperature=0, messages=instructed).choices[0].message.content
    developer = [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be kind."}, *QUESTION]
    assert chat(client, temperature=0, messages=developer).choices[0].message.content == expected
    long = [*QUESTION, {"role": "assistant", "content": None}, {"role": "user", "content": "</s><s>", "name": "x"}]
    assert chat(client, messages=long).usage.prompt_tokens > 20
    # The template's place for instructions is at the beginning: later ones are part of what a user says.
    told = {"role": "system", "content": "Be brief."}
    said = [*QUESTION, {"role": "assistant", "content": "x"}]
    assert ask(*said, told, {"role": "user", "content": "a"}) == ask(*said, {"role": "user", "content": "Be brief.\na"})
    assert ask(*said, told) == ask(*said, {"role": "user", "content": "Be brief."})
    assert ask(told) == ask({"role": "user", "content": "Be brief."})
    assert ask(*QUESTION, told) == ask({"role": "user", "content": QUESTION[0]["content"] + "\nBe brief."})
    # An answer that has begun is continued.
    whole = chat(client, temperature=0, extra_body={"ignore_eos": True}).choices[0].message.content
    begun = chat(client, temperature=0, messages=[*QUESTION, {"role": "assistant", "content": "x"}])
    assert begun.choices[0].message.content is not None and whole


def test_embeddings(client, server):
    texts = ["Hello", "你好", "Hello"]
    default = client.embeddings.create(model="m", input=texts)  # asks for base64
    assert [entry.index for entry in default.data] == [0, 1, 2] and default.model == "my-model"
    floats = client.embeddings.create(model="m", input=texts, encoding_format="float")
    for one, other in zip(default.data, floats.data):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6) and len(one.embedding) == 64
        assert math.fsum(x * x for x in one.embedding) == pytest.approx(1, abs=1e-4)
    assert default.data[0].embedding == pytest.approx(default.data[2].embedding, abs=1e-5)
    assert default.data[0].embedding != pytest.approx(default.data[1].embedding, abs=1e-2)
    raw = server.post("/v1/embeddings", input="Hello", encoding_format="base64")[1]["data"][0]["embedding"]
    assert list(struct.unpack("<64f", base64.b64decode(raw))) == pytest.approx(default.data[0].embedding, abs=1e-5)
    assert default.usage.prompt_tokens == default.usage.total_tokens > 3
    assert len(client.embeddings.create(model="m", input=[[1, 70, 80], [1, 70]]).data) == 2
    assert len(client.embeddings.create(model="m", input=["x"] * 300).data) == 300
    assert client.embeddings.create(model="m", input="x", dimensions=64).data
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="m", input="x", dimensions=32)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length"):
        client.embeddings.create(model="m", input=[100_000])


def test_models(client, server):
    assert [model.id for model in client.models.list()] == ["my-model"]
    assert client.models.retrieve("my-model").object == "model"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("some/other")
    assert error.value.code == "model_not_found" and error.value.param == "model"
    for path in ("/v1/models", "/v1/models/", "/models", "/models/"):
        assert server.request("GET", path)[0] == 200


@pytest.mark.parametrize("fields, parameter", [
    ({"temperature": 3}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"top_p": -0.1}, "top_p"),
    ({"n": 0}, "n"), ({"n": 1000}, "n"), ({"max_tokens": -2}, "max_tokens"), ({"stop": ["a"] * 65}, "stop"),
    ({"stop": 3}, "stop"), ({"logit_bias": {"hello": 1}}, "logit_bias"), ({"logit_bias": {"100000": 1}}, "logit_bias"),
    ({"logit_bias": {"70": 101}}, "logit_bias"), ({"presence_penalty": 3}, "presence_penalty"),
    ({"top_logprobs": 3}, "top_logprobs"), ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stream": "yes"}, "stream"), ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": None}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"), ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
     "messages[0].content"),
    ({"messages": [{"role": "user", "content": "long " * 1000}]}, "messages"),
    ({"modalities": ["audio"]}, "modalities"), ({"functions": [{"name": "f"}]}, "functions"),
    ({"seed": 1.5}, "seed"),
])
def test_wrong_fields_are_named(server, fields, parameter):
    status, reply = server.post("/v1/chat/completions", **{"messages": QUESTION, "max_tokens": 1} | fields)
    error = reply["error"]
    assert status == 400 and error["param"] == parameter and error["type"] == "invalid_request_error"
    assert parameter.split("[")[0].split(".")[0] in error["message"]


def test_fields_that_ask_for_nothing_are_accepted(client):
    chat(client, user="me", store=False, metadata={"a": "b"}, parallel_tool_calls=True, service_tier="auto",
         response_format=None, stop=None, logit_bias=None, extra_body={"something": {"new": 1}, "tools": []})
    assert chat(client, max_tokens=openai.omit, max_completion_tokens=2).usage.completion_tokens <= 2


def test_errors_become_the_clients_exceptions(binary, model, server, client):
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="m", prompt="long " * 1000)
    assert error.value.code == "context_length_exceeded" and error.value.request_id.startswith("req_")
    for path, method, status in (
            ("/v1/nothing", "GET", 404), ("/v1/chat/completions", "GET", 405), ("/v1/models", "POST", 405)):
        reply = server.request(method, path, b"{}" if method == "POST" else None)
        assert reply[0] == status and json.loads(reply[2])["error"]["message"]
    for body in (b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000, b'{"prompt":"\xff"}'):
        reply = server.request("POST", "/v1/completions", body)
        assert reply[0] == 400 and json.loads(reply[2])["error"]["type"] == "invalid_request_error"
    with Server(binary, model, "--strict-model") as strict:
        client = openai.OpenAI(base_url=strict.url, api_key="any", max_retries=0)
        chat(client, model="my-model")
        with pytest.raises(openai.NotFoundError):
            chat(client, model="gpt-4")


def test_the_key(binary, model, tmp_path):
    (tmp_path / "key").write_text("secret-1\n")
    with Server(binary, model, "--api-key-file", tmp_path / "key") as server:
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=server.url, api_key="secret-2", max_retries=0).models.list()
        chat(openai.OpenAI(base_url=server.url, api_key="secret-1"))
        assert server.request("GET", "/health")[0] == 200 and server.request("GET", "/metrics")[0] == 401
    with Server(binary, model, env={"MINIMIND_API_KEY": "secret-3"}) as server:
        assert openai.OpenAI(base_url=server.url, api_key="secret-3").models.list().data


def test_too_many_are_told_when_to_come_again(binary, model):
    with Server(binary, model, "--parallel", 1, "--queue", 0, "--context", 100_000) as server:
        client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
        stream = chat(client, stream=True, max_tokens=-1, extra_body={"ignore_eos": True})
        assert [next(stream) for _ in range(3)]
        with pytest.raises(openai.RateLimitError) as error:
            chat(client)
        assert int(error.value.response.headers["Retry-After"]) >= 1
        # Who goes makes room.
        stream.close()
        server.wait_until_idle()
        chat(client)


def test_the_parts_of_a_request_keep_their_place_beside_a_crowd(binary, model):
    with Server(binary, model, "--parallel", 1, "--queue", 0) as server:
        is_over, replies, crowd = threading.Event(), [], []

        def ask():
            replies.append(server.post("/v1/completions", prompt=["Hello"] * 2000, max_tokens=1, ignore_eos=True))
            is_over.set()

        def push():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            while not is_over.is_set():
                connection.request("POST", "/v1/completions", b'{"prompt": "Hello", "max_tokens": 1}')
                response = connection.getresponse()
                response.read()
                crowd.append(response.status)
            connection.close()

        threads = [threading.Thread(target=ask)] + [threading.Thread(target=push) for _ in range(4)]
        threads[0].start()
        wait_until(lambda: server.metric("prompt_tokens_total") > 0, "the first request is not read")
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        (status, reply), = replies
        assert status == 200 and reply["usage"]["completion_tokens"] == 2000
        assert 429 in crowd


def test_answers_of_the_whole_context_are_written_beside_each_other(binary, tmp_path, tokenizer_directory):
    model = make_model(tmp_path / "my-model", tokenizer_directory, context=4000, scale=0.15)
    with Server(binary, model, "--parallel", 8) as server:
        client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
        streams = [chat(client, stream=True, max_tokens=-1, extra_body={"ignore_eos": True}) for _ in range(8)]
        wait_until(lambda: server.metric("sequences_running") == 8, "some wait, or have ended before the others began")
        for stream in streams:
            stream.close()


def test_an_answer_that_would_fill_the_memory_is_refused(server):
    def complete(**fields):
        return server.post("/v1/completions", ignore_eos=True, temperature=0, **fields)

    status, reply = complete(prompt=["a"] * 2048, logprobs=20, max_tokens=500)
    assert status == 400 and reply["error"]["param"] == "max_tokens" and "'logprobs'" in reply["error"]["message"]
    status, reply = complete(prompt=["a"] * 100, n=128, max_tokens=1)
    assert status == 400 and reply["error"]["param"] == "n"
    # As lm-eval measures texts.
    status, reply = complete(prompt=[[1] + [70] * 300] * 64, echo=True, logprobs=1, max_tokens=1)
    assert status == 200 and {len(choice["logprobs"]["tokens"]) for choice in reply["choices"]} == {302}


def test_why_there_are_no_conversations_with_a_model(binary, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "{% for m in messages %}"}))
    with Server(binary, other) as server:
        status, reply = server.post("/v1/chat/completions", messages=QUESTION)
        message = reply["error"]["message"]
        assert status == 400 and "other: the chat template fails in line 1" in message
        assert str(tmp_path) not in message
        assert server.post("/v1/completions", prompt="Hello", max_tokens=1)[0] == 200
        server.process.terminate()
        assert message.split(". ", 1)[1] in server.process.stderr.read()


def test_the_fingerprint_is_of_all_weights(binary, model, tmp_path):
    sharded = shutil.copytree(model, tmp_path / "sharded")
    weights = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    names = sorted(weights)
    files = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in files.items():
        save_file({name: weights[name] for name in part}, sharded / file)
    (sharded / "model.safetensors.index.json").write_text(json.dumps(
        {"weight_map": {name: file for file, part in files.items() for name in part}}))
    adapter, name = tmp_path / "adapter", "base_model.model.model.layers.0.self_attn.o_proj."
    adapter.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / file, adapter)
    ones = weights["model.norm.weight"][None]
    save_file({name + "lora_A.weight": ones, name + "lora_B.weight": ones.T.copy()}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "base_model_name_or_path": str(sharded), "r": 1, "lora_alpha": 1,
         "target_modules": ["o_proj"]}))

    def fingerprint(directory):
        with Server(binary, directory) as server:
            return server.post("/v1/completions", prompt="a", max_tokens=1)[1]["system_fingerprint"]

    assert fingerprint(sharded) == fingerprint(sharded)
    for directory, file in (
            (sharded, sharded / "b.safetensors"), (adapter, adapter / "adapter_model.safetensors"),
            (adapter, sharded / "a.safetensors")):
        before = fingerprint(directory)
        os.utime(file, (1, 1))
        assert fingerprint(directory) != before


def test_an_answer_in_progress_is_written_before_the_server_stops(binary, model):
    with Server(binary, model) as server:
        client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
        stream = iter(chat(client, stream=True, max_tokens=400, extra_body={"ignore_eos": True}))
        next(stream)
        server.process.terminate()
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
        assert server.process.wait(timeout=PATIENCE) == 0


WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Rome", "北京"]}, "days": {"type": "integer"}},
    "required": ["city"], "additionalProperties": False}}}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}


def test_answers_of_a_form(client):
    reply = chat(client, response_format={"type": "json_object"}, temperature=1, seed=1, max_tokens=200)
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content), dict)
    schema = WEATHER["function"]["parameters"] | {"required": ["city", "days"]}
    for seed in range(5):
        choice = chat(client, temperature=1.5, seed=seed, max_tokens=100, response_format={
            "type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}).choices[0]
        if choice.finish_reason == "stop":
            answer = json.loads(choice.message.content)
            assert answer["city"] in ("Rome", "北京") and isinstance(answer["days"], int)
    with pytest.raises(openai.BadRequestError, match="response_format"):
        chat(client, response_format={"type": "xml"})
    with pytest.raises(openai.BadRequestError, match="dependencies"):
        chat(client, response_format={
            "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "dependencies": {}}}})


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_calls_of_tools(client, choice):
    fields = dict(tools=[WEATHER, TIME], tool_choice=choice, temperature=1, seed=2, max_tokens=200)
    answer = chat(client, **fields).choices[0]
    assert answer.finish_reason == "tool_calls" and answer.message.content is None
    call, = answer.message.tool_calls
    assert call.type == "function" and call.id.startswith("call_")
    arguments = json.loads(call.function.arguments)
    assert call.function.name in ("weather", "time") and (call.function.name == "time" or "city" in arguments)
    name, text, ids, finish = "", "", set(), None
    for chunk in chat(client, stream=True, **fields):
        finish = chunk.choices[0].finish_reason
        for piece in chunk.choices[0].delta.tool_calls or []:
            assert piece.index == 0
            name += piece.function.name or ""
            text += piece.function.arguments or ""
            ids |= {piece.id} - {None}
    assert (name, json.loads(text), finish, len(ids)) == (call.function.name, arguments, "tool_calls", 1)
    # The result goes back, and the model goes on.
    messages = [*QUESTION, answer.message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    assert chat(client, messages=messages, tools=[WEATHER, TIME]).usage.prompt_tokens > 100


def test_tools_that_are_wrong_or_not_wanted(client):
    plain = chat(client, temperature=0).choices[0].message.content
    assert chat(client, temperature=0, tools=[TIME], tool_choice="none").choices[0].message.content == plain
    # A strict function's schema is kept to, so what it says must be supported; any other's is only shown to the model.
    odd = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "object", "dependencies": {}}}}}
    assert chat(client, temperature=0, tools=[{"type": "function", "function": odd}]).choices[0].message.content
    for fields in ({"tools": [{"type": "web"}]}, {"tool_choice": "required"},
                   {"tools": [{"type": "function", "function": {**odd, "strict": True}}]},
                   {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "other"}}}):
        with pytest.raises(openai.BadRequestError, match="tool"):
            chat(client, **fields)


def test_what_clients_send_by_habit(server):
    """Each was refused, or read wrongly, once."""
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "the best book"}]
    prompt = server.post("/apply-template", messages=[{"role": "user", "content": parts}])[1]["prompt"]
    assert "What is\nthe best book" in prompt
    assert server.post("/v1/chat/completions", messages=QUESTION, max_tokens=1, logprobs=False, top_logprobs=0)[0] == 200
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"city": "Rome"}}}
    history = [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [call]},
               {"role": "tool", "tool_call_id": "a", "content": "rain"}]
    assert server.post("/v1/chat/completions", messages=history, max_tokens=1)[0] == 200
