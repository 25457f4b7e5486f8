"""`minimind serve` through the official packages of the other APIs that it speaks: OpenAI's Responses, Anthropic's
Messages and Ollama's. Every event of a stream must be one that the package knows, with all that it must have."""

import json

import anthropic
import httpx
import ollama
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter
from serving import Server

QUESTION = "世界上最高的山是什么？"
WEATHER = {"type": "object", "properties": {"city": {"enum": ["Rome", "Paris"]}}, "required": ["city"]}


@pytest.fixture(scope="module")
def claude(server):
    return anthropic.Anthropic(base_url=server.url.removesuffix("/v1"), api_key="any", max_retries=0)


def frames(body):
    """Name and data of each event of a stream."""
    for frame in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def content(client, **fields):
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=12, **fields)
    return reply.choices[0].message.content


# Responses

def respond(client, **fields):
    return client.responses.create(**{"model": "m", "input": QUESTION, "temperature": 0, "max_output_tokens": 12} | fields)


def test_a_response_is_the_answer_of_a_conversation(client):
    response = respond(client, metadata={"a": "b"})
    TypeAdapter(Response).validate_python(response.to_dict())
    assert response.output_text == content(client) and response.model == "my-model" and response.metadata == {"a": "b"}
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens and usage.output_tokens <= 12
    assert response.status == ("incomplete" if usage.output_tokens == 12 else "completed")
    # Texts and items mean the same.
    items = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    assert respond(client, input=items).output_text == response.output_text
    told = respond(client, instructions="Be brief.").output_text
    assert told == respond(client, input=[{"role": "developer", "content": "Be brief."}, *items]).output_text
    assert client.post("/responses/input_tokens", body={"input": QUESTION}, cast_to=object)["input_tokens"] == (
        usage.input_tokens)


def check_stream(body):
    """The events of a stream of responses; all are valid, numbered, and around the pieces that they announce."""
    events = list(frames(body))
    for number, (name, event) in enumerate(events):
        TypeAdapter(ResponseStreamEvent).validate_python(event)
        assert event["type"] == name and event["sequence_number"] == number
    return [event for _, event in events]


def test_the_events_of_a_text(server, client):
    body = {"input": QUESTION, "temperature": 0, "max_output_tokens": 12, "ignore_eos": True, "stream": True}
    events = check_stream(server.request("POST", "/v1/responses", body)[2])
    names = [event["type"].removeprefix("response.") for event in events]
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert names == ["created", "in_progress", "output_item.added", "content_part.added",
                     *["output_text.delta"] * len(deltas), "output_text.done", "content_part.done", "output_item.done",
                     "incomplete"]
    response = events[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert "".join(deltas) == response["output"][0]["content"][0]["text"] == events[-2]["item"]["content"][0]["text"]
    assert response["output"][0]["id"] == events[2]["item"]["id"] == events[4]["item_id"]
    whole = server.post("/v1/responses", **body | {"stream": False})[1]
    assert whole["output"][0]["content"] == response["output"][0]["content"] and whole["usage"] == response["usage"]


def test_functions_and_their_results(server, client):
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    fields = {"input": QUESTION, "tools": tools, "tool_choice": "required"}
    events = check_stream(server.request("POST", "/v1/responses", fields | {"stream": True, "temperature": 0})[2])
    names = [event["type"].removeprefix("response.") for event in events]
    assert names[2] == "output_item.added" and set(names[3:-3]) == {"function_call_arguments.delta"}
    assert names[-3:] == ["function_call_arguments.done", "output_item.done", "completed"]
    call = events[-1]["response"]["output"][0]
    assert json.loads(call["arguments"])["city"] in ("Rome", "Paris") and call["name"] == "weather"
    for choice in ({"type": "function", "name": "weather"},
                   {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}):
        item, = respond(client, tools=tools, tool_choice=choice, max_output_tokens=120).output
        assert item.type == "function_call" and item.status == "completed"
    result = {"type": "function_call_output", "call_id": item.call_id, "output": "rain"}
    history = [{"role": "user", "content": QUESTION}, item.to_dict(), result]
    answer = respond(client, input=history, tools=tools, tool_choice="none")
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "tool_calls": [{"id": item.call_id, "type": "function", "function": {
            "name": item.name, "arguments": item.arguments}}]},
        {"role": "tool", "tool_call_id": item.call_id, "content": "rain"}]
    chat = client.chat.completions.create(model="m", messages=messages, temperature=0, max_tokens=12)
    assert answer.output_text == chat.choices[0].message.content


def test_a_form_and_log_probabilities(client):
    class Place(BaseModel):
        city: str
        isFar: bool

    fields = dict(model="m", input=QUESTION, text_format=Place, temperature=0, max_output_tokens=200)
    parsed = client.responses.parse(**fields)
    assert parsed.status == "completed" and isinstance(parsed.output_parsed, Place)
    with client.responses.stream(**fields) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == parsed.output_text
    part = respond(client, include=["message.output_text.logprobs"], top_logprobs=3).output[0].content[0]
    assert 0 < len(part.logprobs) <= 12 and all(len(entry.top_logprobs) == 3 for entry in part.logprobs)


def test_reasoning_is_an_item_of_its_own(binary, model, tmp_path):
    thinker = make_thinker(model, tmp_path)
    with Server(binary, thinker) as server:
        fields = {"input": QUESTION, "max_output_tokens": 8, "ignore_eos": True}
        events = check_stream(server.request("POST", "/v1/responses", fields | {"stream": True})[2])
        names = [event["type"].removeprefix("response.") for event in events]
        assert names[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
        assert set(names[4:-4]) == {"reasoning_text.delta"}
        assert names[-4:] == ["reasoning_text.done", "content_part.done", "output_item.done", "incomplete"]
        response = server.post("/v1/responses", **fields)[1]
        assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 8
        item, = response["output"]
        assert item["type"] == "reasoning" and item["content"][0]["text"]
        # Clients send it back.
        history = [{"role": "user", "content": "a"}, item, {"role": "assistant", "content": "b"},
                   {"role": "user", "content": "c"}]
        prompt = server.post("/apply-template", messages=[
            history[0], {"role": "assistant", "content": "b", "reasoning_content": "T"}, history[3]])[1]["prompt"]
        assert "[T]" in prompt and server.post("/v1/responses", **fields | {"input": history})[0] == 200
        message = server.post("/v1/messages", messages=history[:1], max_tokens=8, ignore_eos=True)[1]
        assert [block["type"] for block in message["content"]] == ["thinking"]
        body = {"messages": history[:1], "max_tokens": 8, "ignore_eos": True, "stream": True}
        names = check_message_stream(server.request("POST", "/v1/messages", body)[2])[0]
        assert names[:3] == ["message_start", "ping", "content_block_start"] and names[-1] == "message_stop"


def make_thinker(model, directory):
    """The model with a template that opens the reasoning and shows that of earlier answers in brackets."""
    thinker = directory / "thinker"
    thinker.mkdir()
    for file in model.iterdir():
        (thinker / file.name).write_bytes(file.read_bytes())
    (thinker / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.role }}: {% if message.reasoning_content %}[{{ message.reasoning_content }}]"
        "{% endif %}{{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: <think>\n{% endif %}")
    return thinker


@pytest.mark.parametrize("fields, parameter", [
    ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"), ({"prompt": {"id": "a"}}, "prompt"),
    ({"tools": [{"type": "web_search"}]}, "tools[0]"), ({"include": ["file_search_call.results"]}, "include"),
    ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type"), ({"input": None}, "input"),
    ({"input": [{"role": "king", "content": "a"}]}, "input[0].role"), ({"max_output_tokens": "a"}, "max_output_tokens"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "a"}]}]}, "input[0].content"),
    ({"text": {"format": {"type": "hiccup"}}}, "text.format"), ({"truncation": "b"}, "truncation"),
    ({"stream": "a"}, "stream"), ({"temperature": 3}, "temperature"), ({"input": "long " * 1000}, "input"),
    ({"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}, "input[0].call_id")])
def test_what_a_response_cannot_have_is_named_in_its_words(server, fields, parameter):
    status, reply = server.post("/v1/responses", **{"input": QUESTION, "max_output_tokens": 3} | fields)
    assert status == 400 and reply["error"]["param"] == parameter, reply


# A conversation that is too long

def test_oldest_turns_are_left_out_where_that_is_asked_for(binary, model, server):
    turns = [{"role": role, "content": f"{number}: " + "word " * 30}
             for number in range(20) for role in ("user", "assistant")]
    messages = [{"role": "system", "content": "Be brief."}, *turns, {"role": "user", "content": "last question"}]
    fields = {"messages": messages, "max_tokens": 4}
    status, _, reply = server.request("POST", "/v1/chat/completions", fields)
    error = json.loads(reply)["error"]
    assert status == 400 and error["code"] == "context_length_exceeded"
    assert error["message"].startswith("This model's maximum context length is 512 tokens.")
    status, headers, reply = server.request("POST", "/v1/chat/completions", fields | {"truncation": "auto"})
    dropped = int(headers["x-dropped-messages"])
    kept = json.loads(reply)["usage"]["prompt_tokens"]
    assert status == 200 and dropped % 2 == 0 and 0 < dropped < 40 and kept <= 508
    # As few as it takes: with a turn more it would not fit.
    rest = [messages[0], *messages[1 + dropped:]]
    assert kept == server.post("/v1/messages/count_tokens", messages=rest[1:], system="Be brief.")[1]["input_tokens"]
    more = [messages[0], *messages[dropped - 1:]]
    assert server.post("/v1/messages/count_tokens", messages=more[1:], system="Be brief.")[1]["input_tokens"] > 508
    response = server.request("POST", "/v1/responses", {
        "input": messages, "max_output_tokens": 4, "truncation": "auto", "stream": True})
    assert response[0] == 200 and int(response[1]["x-dropped-messages"]) == dropped
    alone = {"messages": [{"role": "user", "content": "long " * 1000}], "truncation": "auto"}
    assert server.request("POST", "/v1/chat/completions", alone)[0] == 400
    with Server(binary, model, "--shorten", "oldest") as other:
        assert int(other.request("POST", "/v1/chat/completions", fields)[1]["x-dropped-messages"]) == dropped
        assert other.request("POST", "/v1/chat/completions", fields | {"truncation": "disabled"})[0] == 400


# Messages

def check_message_stream(body):
    events = list(frames(body))
    for name, event in events:
        assert event["type"] == name
        if name != "ping":
            TypeAdapter(RawMessageStreamEvent).validate_python(event)
    return [name for name, _ in events], [event for _, event in events]


def test_a_message_is_the_answer_of_a_conversation(server, client, claude):
    fields = {"model": "m", "max_tokens": 12, "messages": [{"role": "user", "content": QUESTION}],
              "extra_body": {"temperature": 0}}
    message = claude.messages.create(**fields)
    TypeAdapter(Message).validate_python(message.to_dict())
    assert message.content[0].text == content(client) and message.model == "my-model"
    assert message.stop_reason == ("max_tokens" if message.usage.output_tokens == 12 else "end_turn")
    count = claude.messages.count_tokens(model="m", messages=fields["messages"]).input_tokens
    assert count == message.usage.input_tokens + message.usage.cache_read_input_tokens
    with claude.messages.stream(**fields) as stream:
        assert "".join(stream.text_stream) == message.content[0].text
        assert stream.get_final_message().stop_reason == message.stop_reason
    body = {key: value for key, value in fields.items() if key != "extra_body"} | {"temperature": 0, "stream": True}
    names, events = check_message_stream(server.request("POST", "/v1/messages", body)[2])
    assert names == ["message_start", "ping", "content_block_start",
                     *["content_block_delta"] * (len(names) - 6), "content_block_stop", "message_delta", "message_stop"]
    stop = message.content[0].text[2:5]
    stopped = claude.messages.create(**fields, stop_sequences=["never ☃", stop])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == stop
    system = claude.messages.create(**fields, system=[{"type": "text", "text": "Be brief."}])
    chat = client.chat.completions.create(
        model="m", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        temperature=0, max_tokens=12)
    assert system.content[0].text == chat.choices[0].message.content


def test_tools_of_messages(claude, server):
    tools = [{"name": "weather", "description": "d", "input_schema": WEATHER}]
    fields = {"model": "m", "max_tokens": 120, "messages": [{"role": "user", "content": QUESTION}], "tools": tools,
              "tool_choice": {"type": "any"}}
    message = claude.messages.create(**fields)
    call, = message.content
    assert message.stop_reason == "tool_use" and call.input["city"] in ("Rome", "Paris")
    with claude.messages.stream(**fields) as stream:
        assert stream.get_final_message().content[0].input["city"] in ("Rome", "Paris")
    for result in ("rain", [{"type": "text", "text": "rain"}]):
        history = [*fields["messages"], {"role": "assistant", "content": [call.to_dict()]}, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": result}, {"type": "text", "text": "and now?"}]}]
        assert claude.messages.create(**fields | {"messages": history, "tool_choice": {"type": "none"}}).content
    schema = {"type": "json_schema", "schema": WEATHER}
    answer = claude.messages.create(**fields | {"tools": [], "tool_choice": {"type": "none"}},
                                    output_config={"format": schema})
    assert json.loads(answer.content[0].text)["city"] in ("Rome", "Paris")


def test_errors_of_messages_are_anthropics(binary, model, server, claude):
    with pytest.raises(anthropic.BadRequestError) as error:
        claude.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "long " * 1000}])
    assert error.value.body["type"] == "error" and error.value.body["error"]["type"] == "invalid_request_error"
    for fields in ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, {"container": "a"},
                   {"messages": [{"role": "king", "content": "a"}]}, {"thinking": {"type": "a"}}):
        status, reply = server.post(
            "/v1/messages", **{"messages": [{"role": "user", "content": "a"}], "max_tokens": 1} | fields)
        assert status == 400 and reply["type"] == "error" and next(iter(fields)) in reply["error"]["message"]
    with Server(binary, model, "--api-key", "secret") as closed:
        url = closed.url.removesuffix("/v1")
        with pytest.raises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=url, api_key="other", max_retries=0).models.list()
        assert anthropic.Anthropic(base_url=url, api_key="secret", max_retries=0).models.list().data
        assert closed.request("GET", "/v1/models", headers={"api-key": "secret"})[0] == 200


# Ollama

@pytest.fixture(scope="module")
def llama(server):
    return ollama.Client(host=server.url.removesuffix("/v1"))


def test_ollama_lists_and_answers(client, llama):
    assert [entry.model for entry in llama.list().models] == ["my-model"]
    assert llama.show("my-model").modelinfo["minimind.context_length"] == 512
    fields = {"model": "my-model", "messages": [{"role": "user", "content": QUESTION}],
              "options": {"temperature": 0, "num_predict": 12, "num_ctx": 2048}}
    answer = llama.chat(**fields)
    assert answer.message.content == content(client) and answer.done and answer.eval_count <= 12
    pieces = list(llama.chat(**fields, stream=True))
    assert "".join(piece.message.content for piece in pieces) == answer.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].done_reason == answer.done_reason and pieces[-1].prompt_eval_count == answer.prompt_eval_count
    written = llama.generate(model="m", prompt=QUESTION, options=fields["options"])
    assert written.response == answer.message.content
    raw = llama.generate(model="m", prompt="Hello", raw=True, options=fields["options"]).response
    assert raw == client.completions.create(model="m", prompt="Hello", temperature=0, max_tokens=12).choices[0].text
    place = llama.chat(**fields | {"options": {}}, format=WEATHER).message.content
    assert json.loads(place)["city"] in ("Rome", "Paris")
    vectors = llama.embed(model="m", input=["Hello", "你好"]).embeddings
    assert vectors[0] == pytest.approx(client.embeddings.create(model="m", input="Hello").data[0].embedding, abs=1e-5)


def test_ollama_as_open_webui_calls_it(server):
    """The requests of Open-WebUI 0.12.4's connection to Ollama, and what it reads of the answers, by its source
    (routers/ollama.py, utils/payload.py, utils/response.py, retrieval/utils.py). It is not installed: it needs 200 packages."""
    def post(path, **payload):
        headers = {"Content-Type": "application/json", "Authorization": "Bearer any"}
        return httpx.post(server.url.removesuffix("/v1") + path, content=json.dumps(payload), headers=headers)

    def get(path):
        return httpx.get(server.url.removesuffix("/v1") + path, headers={"Content-Type": "application/json"}).json()

    assert get("/api/version")["version"]
    assert [entry["model"] for entry in get("/api/tags")["models"]] == ["my-model"]
    assert [entry["model"] for entry in get("/api/ps")["models"]] == ["my-model"]
    assert post("/api/show", model="my-model").json()["capabilities"]
    # A chat with the settings of a model, streamed: it parses each line by itself and divides by the durations.
    tool = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": WEATHER}}
    fields = dict(
        model="my-model", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        stream=True, keep_alive="5m", think=False, options={
            "temperature": 0.7, "top_p": 0.9, "seed": 3, "mirostat": 0, "mirostat_eta": 0.1, "mirostat_tau": 5.0, "num_ctx": 2048,
            "num_batch": 512, "num_keep": 24, "num_predict": 12, "repeat_last_n": -1, "top_k": 40, "min_p": 0.05,
            "repeat_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.1, "stop": ["☃"], "num_gpu": 1,
            "use_mmap": True, "use_mlock": True, "num_thread": 2})
    reply = post("/api/chat", **fields)
    lines = [json.loads(line) for line in reply.content.split(b"\n") if line]
    assert reply.status_code == 200 and all(line["message"]["role"] == "assistant" for line in lines), reply.text
    last = lines[-1]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert last["done_reason"] in ("stop", "length") and last["eval_duration"] > 0 and last["total_duration"] > 0
    # A title; a history with a call as it writes it.
    title = post("/api/chat", model="my-model", messages=fields["messages"], stream=False, options={"num_predict": 5}).json()
    assert title["message"]["content"] is not None and title["eval_count"] <= 5
    history = [*fields["messages"], {"role": "assistant", "content": "", "tool_calls": [
        {"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"}]
    reply = post("/api/chat", model="my-model", messages=history, stream=False, tools=[tool], options={"num_predict": 5})
    assert reply.status_code == 200, reply.text
    # Its documents, of which it wants the beginning where they are too long; and the model unloaded.
    vectors = post("/api/embed", input=["Hello", "long " * 1000], model="my-model", truncate=True).json()["embeddings"]
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) == 64
    unloaded = post("/api/generate", model="my-model", keep_alive=0, prompt="").json()
    assert unloaded["done"] and unloaded["response"] == ""
    # Errors are sentences.
    assert "maximum context length" in post("/api/embed", input="long " * 1000, model="my-model").json()["error"]


def test_ollama_errors_and_refusals(llama, server):
    with pytest.raises(ollama.ResponseError, match="maximum context length"):
        llama.chat(model="m", messages=[{"role": "user", "content": "long " * 1000}])
    for fields, word in (({"options": {"mirostat": 1}}, "mirostat"), ({"suffix": "a"}, "suffix"),
                         ({"think": True}, "enable_thinking"), ({"images": ["a"]}, "images")):
        status, reply = server.post("/api/generate", **{"prompt": "a", "stream": False} | fields)
        assert status == 400 and word in reply["error"], reply


# Tokens and settings

def test_tokens_and_settings(server, minimind, model):
    ids = json.loads(minimind("tokenizer", "encode", "--tokenizer", model, "--json", input="Hello\n").stdout)
    plain = server.post("/tokenize", content="Hello")[1]["tokens"]
    assert plain == ids and server.post("/tokenize", content="Hello", add_special=True)[1]["tokens"] == [1, *plain]
    assert server.post("/tokenize", prompt="Hello")[1]["tokens"] == [1, *plain]
    pieces = server.post("/tokenize", content="你", with_pieces=True)[1]["tokens"]
    assert [piece["id"] for piece in pieces] == server.post("/tokenize", content="你")[1]["tokens"]
    assert server.post("/detokenize", tokens=plain)[1]["content"] == "Hello"
    assert server.post("/detokenize", tokens=[])[1]["content"] == ""
    messages = [{"role": "user", "content": "Hello"}]
    prompt = server.post("/apply-template", messages=messages)[1]["prompt"]
    assert prompt == "<s>user\nHello</s>\n<s>assistant\n"
    chat = server.post("/tokenize", messages=messages)[1]
    assert chat["count"] == server.post("/v1/chat/completions", messages=messages, max_tokens=1)[1]["usage"][
        "prompt_tokens"] and chat["max_model_len"] == 512
    properties = json.loads(server.request("GET", "/props")[2])
    assert properties["default_generation_settings"]["n_ctx"] == 512 and "message" in properties["chat_template"]
    assert json.loads(server.request("GET", "/v1/models")[2])["data"][0]["max_model_len"] == 512
    for path, fields in (("/tokenize", {}), ("/detokenize", {"tokens": [100_000]}), ("/tokenize", {"content": 3})):
        assert server.post(path, **fields)[0] == 400


def test_paths_as_clients_write_them(server):
    base = server.url.removesuffix("/v1")
    assert httpx.get(base + "//v1/models").status_code == 200
    with server.connect() as connection:
        request = f"GET {base}/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    reply = httpx.post(base + "/v1/completions", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 415 and "Content-Encoding" in reply.json()["error"]["message"]
    assert "/responses" in httpx.get(base + "/v1/nothing").json()["error"]["message"]
