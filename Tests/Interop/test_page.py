"""The web page in a headless Chromium: what a person does with it.

Most tests use `page_server`, which writes what they need; the last one uses `minimind serve`.
"""

import json
import threading

import pytest
from browser import BrowserPage
from conftest import PATIENCE
from page import answers, ask, browser, server, visit  # noqa: F401
from random_model import make_model
from serving import Server

pytestmark = pytest.mark.heavy


def test_an_answer_is_shown_as_it_comes_with_its_speed(server, visit):
    page = visit()
    page.wait("document.querySelector('#model').innerText === 'small-chat'")
    more = threading.Event()
    server.answers["Hello"] = ["One ", "two", more, " three"]
    ask(page, "Hello", waits=False)
    page.wait("document.querySelector('.running .content')?.innerText === 'One two'")
    assert page.run("document.querySelector('.running').getAttribute('aria-busy')") == "true"
    # It has not been stopped, as it would have been if the page were closed now.
    page.wait("document.querySelector('.running .facts')?.textContent.startsWith('2 tokens')")
    assert "stopped" not in page.run("document.querySelector('.running .facts').textContent")
    more.set()
    page.wait("document.querySelector('.assistant:not(.running) .content')?.innerText === 'One two three'")
    facts = page.text(".assistant .facts")
    # What is computed from the clock here counts the time from sending to the end.
    assert facts.startswith("3 tokens · ") and "tokens/s" in facts and "first after" in facts
    server.timings = {"prompt_n": 5, "predicted_n": 2, "predicted_ms": 4.0, "predicted_per_second": 512.3}
    assert page.text("#title") == "Hello" and page.run("document.title") == "Hello · MiniMind"
    ask(page, "And then?")
    assert [message["role"] for message in server.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert answers(page) == ["One two three", "An answer."]
    # The server knows best how fast it was.
    assert page.text(".assistant:last-child .facts").startswith("2 tokens · 512 tokens/s · first after ")


@pytest.mark.parametrize("languages, words", [
    ("en", "The model answered nothing."), ("zh", "模型没有给出任何回答。"), ("ja", "モデルは何も答えませんでした。")])
def test_an_empty_answer_is_said(server, visit, languages, words):
    page = visit(languages=languages)
    server.answers["Hello"] = []
    ask(page, "Hello")
    assert answers(page) == [words] and page.text("#status") == words
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert answers(page) == [words]
    server.answers["Hello"] = ["Hi."]
    page.click(".again")
    page.wait("document.querySelector('.assistant:not(.running) .content')?.innerText === 'Hi.'")


def test_stop_and_regenerate(server, visit):
    page = visit()
    never = threading.Event()
    for stop in (lambda: page.press("Escape"), lambda: page.click("#stop")):
        server.disconnected.clear()
        server.answers["Count"] = ["1 ", "2 ", never] + [0.1, "x"] * 6000
        ask(page, "Count", waits=False)
        page.wait("document.querySelector('.running .content')?.innerText.trim() === '1 2'")
        stop()
        page.wait("document.querySelector('.assistant:last-child:not(.running) .facts')?.innerText.includes('stopped')")
        never.set()
        assert server.disconnected.wait(PATIENCE), "the server was not told"
        never.clear()
    server.answers["Count"] = ["1 2 3"]
    page.click(".again")
    page.wait("document.querySelector('.assistant:last-child:not(.running) .content')?.innerText === '1 2 3'")
    assert answers(page) == ["1 2", "1 2 3"]
    assert len(server.asked[-1]["messages"]) == 3


def test_conversations_are_kept_renamed_and_deleted(server, visit):
    page = visit()
    ask(page, "First question")
    page.click("#new")
    assert page.count(".message") == 0 and page.count(".welcome") == 1
    ask(page, "Second question")

    def titles():
        return page.run("[...document.querySelectorAll('#conversations .open')].map(button => button.innerText)")

    assert titles() == ["Second question", "First question"]
    page.click("#conversations .current .rename")
    page.type("Renamed")
    page.press("Enter")
    assert page.run("document.activeElement.innerText") == "Renamed"
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert titles() == ["Renamed", "First question"] and page.text("#title") == "Renamed"
    page.click("#conversations li:nth-child(2) .open")
    assert page.text(".user .content") == "First question" and answers(page) == ["An answer."]
    page.click("#conversations .current .rename")
    page.type("Thrown away")
    page.press("Escape")
    assert titles()[1] == "First question"


def test_deleting_asks_first(browser, server, visit):
    page = visit()
    ask(page, "A question")
    ask_before_deleting = "new Promise(done => {{ window.confirm = words => {{ done(words); return {0}; }}; document.querySelector('.remove').click(); }})"
    assert "A question" in page.run(ask_before_deleting.format("false"))
    assert page.count("#conversations li") == 1
    page.run(ask_before_deleting.format("true"))
    assert page.count("#conversations li") == 0 and page.count(".welcome") == 1
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert page.count("#conversations li") == 0


def test_an_answer_goes_on_while_another_conversation_is_open_and_survives_the_page(server, visit):
    page = visit()
    more, never = threading.Event(), threading.Event()
    server.answers["Slow"] = ["a", more, "b"]
    ask(page, "Slow", waits=False)
    page.wait("document.querySelector('.running .content')?.innerText === 'a'")
    page.click("#new")
    ask(page, "Quick")
    assert answers(page) == ["An answer."]
    more.set()
    page.click("#conversations li:nth-child(2) .open")
    page.wait("document.querySelector('.assistant:not(.running) .content')?.innerText === 'ab'")
    server.answers["Endless"] = ["half", never]
    ask(page, "Endless", waits=False)
    page.wait("document.querySelector('.running .content')?.innerText === 'half'")
    page.reload()
    page.wait("document.querySelector('#model').value")
    never.set()
    assert answers(page) == ["ab", "half"] and "stopped" in page.text(".assistant:last-child .facts")


def test_drafts_stay_with_their_conversation(server, visit):
    page = visit()
    page.type("for a new one")
    page.reload()
    page.wait("document.querySelector('#model').value")
    draft = "document.querySelector('#question').value"
    assert page.run(draft) == "for a new one"
    page.press("Enter")
    page.wait("document.querySelector('.assistant:not(.running)')")
    assert page.run(draft) == ""
    page.type("for the first")
    page.click("#new")
    assert page.run(draft) == ""
    page.type("for the second")
    page.click("#conversations .open")
    assert page.run(draft) == "for the first"
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert page.run(draft) == "for the first"
    page.click("#new")
    assert page.run(draft) == "for the second"


def test_settings_go_into_the_request(server, visit):
    server.model = {"default_sampling": {"temperature": 0.7, "top_k": 8, "top_p": 1, "max_tokens": None}}
    page = visit()
    page.wait("document.querySelector('#model').value")
    page.click("#open-settings")
    shown = "[...document.querySelectorAll('#sampling input')].map(({name, placeholder}) => [name, placeholder])"
    assert dict(page.run(shown)) | {"min_p": "", "seed": "", "repetition_penalty": ""} == {
        "temperature": "0.7", "top_k": "8", "top_p": "1", "max_tokens": "", "min_p": "", "seed": "", "repetition_penalty": ""}
    page.type("Be brief.")
    page.run("document.querySelector('[name=temperature]').focus()")
    page.type("0.3")
    page.run("document.querySelector('[name=max_tokens]').focus()")
    page.type("50")
    page.press("Enter")
    page.wait("!document.querySelector('dialog').open")
    ask(page, "Hello")
    body = server.asked[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.3 and body["max_tokens"] == 50 and "top_p" not in body
    page.reload()
    page.wait("document.querySelector('#model').value")
    ask(page, "Again")
    assert server.asked[1]["temperature"] == 0.3 and server.asked[1]["messages"][0]["content"] == "Be brief."
    page.click("#new")
    ask(page, "Another conversation")
    assert server.asked[2]["messages"] == [{"role": "user", "content": "Another conversation"}]


def test_the_key_is_asked_for(server, browser, visit):
    server.key = "secret"
    page = BrowserPage(browser)
    page.allowed_statuses = {401}
    page.open(server.address)
    page.wait("document.querySelector('dialog').open && document.activeElement.name === 'key'")
    page.type("wrong")
    page.press("Enter")
    page.wait("document.querySelector('dialog').open && document.querySelector('[name=key]').value === 'wrong'")
    assert "API key" in page.text(".error")
    page.run("document.querySelector('[name=key]').select()")
    page.type("secret")
    page.press("Enter")
    page.wait("document.querySelector('#model').value === 'small-chat' && !document.querySelector('.error')")
    ask(page, "Hello")
    assert answers(page) == ["An answer."]
    assert "secret" not in page.run("JSON.stringify(localStorage)")


def test_errors_are_shown(server, visit):
    page = visit()
    page.allowed_statuses = {400, 429, 500}
    server.refusals = [(429, "too many", None, {"Retry-After": "7"}), (400, "temperature is <b>odd</b>", None, {})]
    ask(page, "Hello", waits=False)
    page.wait("document.querySelector('.error p')?.innerText.includes('in 7 s')")
    page.click(".error button")
    page.wait("document.querySelector('.error .server')?.innerText === 'temperature is <b>odd</b>'")
    assert page.text(".error p") == "The server refused the request:"
    page.click(".error button")
    page.wait("document.querySelector('.assistant:not(.running)') && !document.querySelector('.error')")
    server.answers["Broken"] = ["half an", ConnectionError()]
    ask(page, "Broken", waits=False)
    page.wait("document.querySelector('.error p')?.innerText.includes('ended before')")
    assert answers(page)[-1] == "half an"
    server.refusals = [(400, "too long", "context_length_exceeded", {})]
    page.click("#new")
    ask(page, "Long", waits=False)
    page.wait("document.querySelector('.error p')?.innerText.startsWith('This is longer than the model can read')")
    # What can help is another question.
    page.click(".error button")
    page.wait("document.activeElement.closest('.editing')?.querySelector('textarea').value === 'Long'")
    server.refusals = [(500, "broken", None, {})]
    page.press("Enter")
    page.wait("document.querySelector('.error .server')?.innerText === 'broken'")
    server.close()
    page.problems.clear()
    page.click(".error button")
    page.wait("document.querySelector('.error p')?.innerText.includes('does not answer')")
    page.problems.clear()


def test_with_the_real_server(browser, binary, tokenizer_directory, tmp_path):
    # The model never ends by itself.
    model = make_model(tmp_path / "my-model", tokenizer_directory, scale=0.15, context=100_000)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"eos_token_id": 0}))
    with Server(binary, model, "--api-key", "secret") as server:
        address = f"http://127.0.0.1:{server.port}/"
        page = BrowserPage(browser)
        page.allowed_statuses = {401, 400}
        page.open(address)
        page.wait("document.querySelector('dialog').open && document.activeElement.name === 'key'")
        page.type("secret")
        page.press("Enter")
        page.wait("document.querySelector('#model').value === 'my-model' && !document.querySelector('dialog').open")
        page.run("localStorage.setItem('minimind.sampling', JSON.stringify({max_tokens: 20, top_k: 5, min_p: 0.01, "
                 "repetition_penalty: 1.1, seed: 7, temperature: 0.5, top_p: 0.9}))")
        ask(page, "Hello")
        first = answers(page)
        assert page.text(".assistant .facts").startswith("20 tokens · ") and "length limit" in page.text(".facts")
        page.run("document.querySelector('.assistant').dataset.isFirst = 'yes'")
        page.click(".again")
        page.wait("document.querySelector('.assistant:not([data-is-first], .running) .facts')"
                  "?.innerText.startsWith('20 tokens')")
        assert answers(page) == first
        # The model goes on where the answer ended.
        written = ("JSON.parse(localStorage[Object.keys(localStorage).find(key => key.startsWith('minimind.conversation.'))])"
                   ".messages.at(-1).content")
        before = page.run(written)
        page.click(".go-on")
        page.wait("document.querySelector('.assistant:not(.running) .facts')?.innerText.startsWith('40 tokens')")
        assert page.run(written).startswith(before) and page.run(written) != before
        page.run("localStorage.setItem('minimind.sampling', '{}')")
        ask(page, "On and on", waits=False)
        page.wait("document.querySelector('.running .facts')?.textContent.includes('tokens/s')")
        page.press("Escape")
        page.wait("document.querySelector('.assistant:last-child:not(.running) .facts')?.innerText.includes('stopped')")
        assert [url for url in page.requests if not url.startswith(address)] == []
        assert page.problems == []
