"""`minimind serve` used by AutoGen, as its documents say: with a memory, which it writes as a system message behind others,
and with nothing but a system message. Both were refused once."""

import asyncio
import json
from typing import Literal

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core.memory import ListMemory, MemoryContent, MemoryMimeType
from autogen_core.models import SystemMessage, UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

pytestmark = pytest.mark.clients
CONTEXT = 4096
QUESTION = "世界上最高的山是什么？"


class Place(BaseModel):
    city: Literal["Rome", "Paris"]
    isFar: bool


def make_client(server, **fields):
    return OpenAIChatCompletionClient(
        model="my-model", base_url=server.url, api_key="any", temperature=0, max_tokens=60, model_info={
            "vision": False, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown",
            "multiple_system_messages": True}, **fields)


def test_an_agent_with_a_memory(server):
    async def ask():
        memory = ListMemory()
        await memory.add(MemoryContent(content="Rome is in Italy.", mime_type=MemoryMimeType.TEXT))
        agent = AssistantAgent("guide", model_client=make_client(server), memory=[memory], system_message="Be brief.")
        first = await agent.run(task=QUESTION)
        # By now the memory stands behind an answer.
        second = await agent.run(task="And then?")
        return first.messages[-1], second.messages[-1]

    for message in asyncio.run(ask()):
        assert message.source == "guide" and message.content and message.models_usage.completion_tokens > 0


def test_a_system_message_alone_is_answered_as_a_question(server, client):
    created = asyncio.run(make_client(server).create([SystemMessage(content="Say hello.")]))
    asked = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Say hello."}], temperature=0, max_tokens=60)
    assert created.content == asked.choices[0].message.content


def test_streams_forms_and_calls(server):
    async def ask():
        client = make_client(server)
        messages = [UserMessage(content=QUESTION, source="user")]
        text = (await client.create(messages)).content
        *pieces, last = [piece async for piece in client.create_stream(messages)]
        assert "".join(pieces) == text == last.content
        placed = await client.create(messages, json_output=Place)
        assert Place.model_validate_json(placed.content)

        def weather(city: Literal["Rome", "Paris"]) -> str:
            return f"rain in {city}"

        tool = FunctionTool(weather, description="The weather of a city.")
        call, = (await client.create(messages, tools=[tool], tool_choice="required")).content
        assert call.name == "weather" and json.loads(call.arguments)["city"] in ("Rome", "Paris")

    asyncio.run(ask())
