"""What the web page does with conversations that are longer than the model can read, in a headless Chromium."""

import json

import pytest
from browser import BrowserPage
from page import ask, browser, server, visit  # noqa: F401
from serving import Server

pytestmark = pytest.mark.heavy

TURNS = [{"role": role, "content": f"{role}{turn} " * 9} for turn in range(40) for role in ("user", "assistant")]


def open_long_conversation(page):
    """A conversation from elsewhere."""
    conversation = {"id": "x", "title": "Long", "system": "Be brief.", "updated": 9, "messages": TURNS}
    page.run(f"localStorage.setItem('minimind.conversation.x', {json.dumps(json.dumps(conversation))})")
    page.reload()
    page.wait("document.querySelector('#model').value")


def test_all_of_a_conversation_is_sent_and_what_the_server_leaves_out_is_said(server, visit):
    page = visit()
    open_long_conversation(page)
    server.headers = {"x-dropped-messages": "60"}
    ask(page, "And now?")
    sent, = server.asked
    assert sent["truncation"] == "auto" and len(sent["messages"]) == 1 + len(TURNS) + 1
    assert "left out" in page.text(".notice")
    # Going on with an answer, and another answer, are asked for in the same way.
    server.headers, server.endings = {}, {"And now?": "length"}
    page.click(".again")
    page.wait("document.querySelector('.assistant:last-child:not(.running) .go-on')")
    assert page.count(".notice") == 0
    server.headers = {"x-dropped-messages": "60"}
    page.click(".go-on")
    page.wait("document.querySelector('.notice')")
    assert [body["truncation"] for body in server.asked] == ["auto"] * 3
    assert [message["role"] for message in server.asked[2]["messages"][-2:]] == ["user", "assistant"]


@pytest.mark.parametrize("languages, words", [
    ("en", "This is longer than the 40 tokens"), ("zh", "内容超出了模型能读取的 40 个词元"), ("ja", "モデルが読める 40 トークンを超えています")])
def test_a_question_that_is_too_long_by_itself(server, visit, languages, words):
    server.model = {"context_length": 40}
    page = visit(languages=languages)
    page.allowed_statuses = {400}
    page.wait("document.querySelector('#model').value")
    server.refusals = [(400, "too long", "context_length_exceeded", {})]
    ask(page, "q " * 50, waits=False)
    page.wait(f"document.querySelector('.error p')?.innerText.startsWith({json.dumps(words)})")
    # The button leads to it.
    page.click(".error button")
    page.wait("document.activeElement.value?.startsWith('q q')")


def test_a_model_answers_in_a_conversation_that_it_cannot_read_whole(browser, binary, model):
    with Server(binary, model) as server:
        page = BrowserPage(browser)
        page.open(f"http://127.0.0.1:{server.port}/")
        open_long_conversation(page)
        page.run("localStorage.setItem('minimind.sampling', JSON.stringify({max_tokens: 8}))")
        ask(page, "And now?")
        assert "left out" in page.text(".notice") and page.count(".error") == 0
        assert page.problems == [] and len([url for url in page.requests if url.endswith("/completions")]) == 1
