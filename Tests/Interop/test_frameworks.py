"""`minimind serve` used by the packages with which people build on OpenAI's API, as their documents say: each with what it
sends by itself, which once was refused or ignored."""

import asyncio
import os
from typing import Literal

import pytest

pytestmark = pytest.mark.heavy
os.environ |= {"OPENAI_AGENTS_DISABLE_TRACING": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

from pydantic import BaseModel  # noqa: E402

CONTEXT = 4096
QUESTION = "世界上最高的山是什么？"
LONG = "long " * 1000


class Place(BaseModel):
    city: Literal["Rome", "Paris"]
    isFar: bool


@pytest.fixture(autouse=True)
def keys(server, monkeypatch):
    """What the packages look for where they are not told."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")


def test_litellm(server):
    import litellm

    fields = dict(api_base=server.url, api_key="any", temperature=0, max_tokens=16)
    messages = [{"role": "user", "content": QUESTION}]
    text = litellm.completion("openai/my-model", messages, **fields).choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(
        "openai/my-model", messages, stream=True, **fields)) == text
    for provider in ("openai", "hosted_vllm", "lm_studio"):
        with pytest.raises(litellm.ContextWindowExceededError):
            litellm.completion(f"{provider}/my-model", [{"role": "user", "content": LONG * 5}], **fields)
    response = litellm.responses(
        model="openai/my-model", input=QUESTION, api_base=server.url, api_key="any", temperature=0, max_output_tokens=16)
    assert response.output[0].content[0].text == text
    bridged = asyncio.run(litellm.anthropic.messages.acreate(
        model="openai/my-model", messages=messages, max_tokens=16, api_base=server.url, api_key="any", temperature=0))
    assert bridged["content"][0]["text"] == text
    chat = litellm.completion("ollama_chat/my-model", messages, api_base=server.url.removesuffix("/v1"), temperature=0,
                              max_tokens=16)
    assert chat.choices[0].message.content == text


def test_langchain(server):
    from langchain_core.exceptions import ContextOverflowError
    from langchain_openai import ChatOpenAI

    fields = dict(base_url=server.url, api_key="any", model="my-model", temperature=0, max_tokens=8)
    text = ChatOpenAI(**fields).invoke(QUESTION).content
    assert ChatOpenAI(**fields, reasoning_effort="low").invoke(QUESTION).content == text
    responses = ChatOpenAI(**fields, use_responses_api=True)
    assert responses.invoke(QUESTION).text == text
    assert "".join(chunk.text for chunk in responses.stream(QUESTION)) == text
    with pytest.raises(ContextOverflowError):
        ChatOpenAI(**fields).invoke(LONG * 5)
    place = ChatOpenAI(**fields | {"max_tokens": 80}, use_responses_api=True).with_structured_output(
        Place, method="json_schema").invoke(QUESTION)
    assert isinstance(place, Place)


def test_pydantic_ai(server):
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel

    settings = {"temperature": 0, "max_tokens": 80}
    # The name alone means the Responses API.
    agent = Agent("openai:my-model", model_settings=settings, output_type=NativeOutput(Place))
    assert isinstance(agent.run_sync(QUESTION).output, Place)
    assert Agent("openai:my-model", model_settings=settings).run_sync(QUESTION).output

    async def stream():
        async with Agent("openai:my-model", model_settings=settings).run_stream(QUESTION) as result:
            return [piece async for piece in result.stream_text(delta=True)]

    assert asyncio.run(stream())
    # Instructions only.
    chat = Agent(OpenAIChatModel("my-model"), instructions="Say hello.", model_settings=settings)
    assert chat.run_sync().output is not None


def test_openai_agents(server):
    from agents import Agent, ModelSettings, Runner, set_default_openai_api, set_tracing_disabled

    set_tracing_disabled(True)
    settings = ModelSettings(temperature=0, max_tokens=80)
    # To this package an answer that is cut is an error: the model of random weights is made to end.
    ending = ModelSettings(temperature=0, extra_body={"min_tokens": 8, "logit_bias": {"2": 100}})

    async def ask():
        agent = Agent(name="a", instructions="Be brief.", model="my-model", model_settings=ending)
        text = (await Runner.run(agent, QUESTION)).final_output
        result = Runner.run_streamed(agent, QUESTION)
        names = [event.type async for event in result.stream_events()]
        assert text and result.final_output == text and "run_item_stream_event" in names
        placed = Agent(name="a", model="my-model", model_settings=settings, output_type=Place)
        assert isinstance((await Runner.run(placed, QUESTION)).final_output, Place)
        # Without a model's name this package asks for little verbosity.
        set_default_openai_api("chat_completions")
        assert (await Runner.run(Agent(name="a", model_settings=ending), QUESTION)).final_output

    try:
        asyncio.run(ask())
    finally:
        set_default_openai_api("responses")


def test_outlines(server):
    import openai
    import outlines

    client = openai.OpenAI(base_url=server.url, api_key="any")
    for model in (outlines.from_vllm(client, "my-model"), outlines.from_openai(client, "my-model")):
        assert Place.model_validate_json(model(QUESTION, Place, max_tokens=80))
    model = outlines.from_vllm(client, "my-model")
    assert model(QUESTION, Literal["yes", "no"], max_tokens=20) in ("yes", "no")
