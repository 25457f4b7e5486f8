"""`minimind serve` used by Instructor, in each way in which it asks for an object. Once the Responses API was missing, what
its schemas say of texts was refused, and an object with an ordinary string never ended."""

from typing import Annotated, Literal

import instructor
import openai
import pytest
from pydantic import BaseModel, Field

pytestmark = pytest.mark.clients
CONTEXT = 4096
MESSAGES = [{"role": "user", "content": "Hello, my name is Anna."}]


class Person(BaseModel):
    name: str
    age: int


class Order(BaseModel):
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{4}$")]
    tags: set[Literal["new", "old"]]
    size: tuple[Annotated[int, Field(ge=0, le=9)], bool]
    price: Annotated[float, Field(multiple_of=0.25, ge=0, le=100)]


def ask(server, mode, model, **fields):
    client = instructor.from_openai(openai.OpenAI(base_url=server.url, api_key="any", max_retries=0), mode=mode)
    return client.create(response_model=model, messages=MESSAGES, model="my-model", max_retries=0, temperature=0, **fields)


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.RESPONSES_TOOLS])
def test_an_object_ends_when_the_model_wants_to_end(server, mode):
    # A model of random weights wants to end where it is told to.
    limit = {} if mode == instructor.Mode.RESPONSES_TOOLS else {"max_tokens": 200}
    person = ask(server, mode, Person, extra_body={"logit_bias": {"2": 100}}, **limit)
    assert person.name == "" and 0 <= person.age <= 9


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])
def test_what_a_schema_says_of_texts_sets_tuples_and_numbers(server, mode):
    assert isinstance(ask(server, mode, Order, max_tokens=200), Order)
