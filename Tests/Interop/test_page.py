"""The web page in a headless Chromium: what a person does with it.

Most tests use `page_server`, which writes what they need; the last one uses `minimind serve`.
"""

import json
import threading

import pytest
from browser import BrowserPage
from conftest import PATIENCE
from page import answers, ask, browser, server, visit  # noqa: F401
from page_server import Handler
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
    assert facts.startswith("3 tokens · ") and "tokens/s" in facts and "first after" in facts
    assert page.text("#title") == "Hello" and page.run("document.title") == "Hello · MiniMind"
    ask(page, "And then?")
    assert [message["role"] for message in server.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert answers(page) == ["One two three", "An answer."]


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


def test_settings_go_into_the_request(server, visit):
    page = visit()
    page.click("#open-settings")
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
    page.wait("document.querySelector('.error p')?.innerText === 'temperature is <b>odd</b>'")
    page.click(".error button")
    page.wait("document.querySelector('.assistant:not(.running)') && !document.querySelector('.error')")
    server.answers["Broken"] = ["half an", ConnectionError()]
    ask(page, "Broken", waits=False)
    page.wait("document.querySelector('.error p')?.innerText.includes('ended before')")
    assert answers(page)[-1] == "half an"
    # A conversation that has become too long loses its oldest turn.
    too_long = (400, "too long", "context_length_exceeded", {})
    server.refusals = [too_long]
    ask(page, "More")
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["Broken", "half an", "More"]
    assert "left out" in page.text(".notice")
    server.refusals = [too_long] * 4
    page.click("#new")
    ask(page, "Long", waits=False)
    page.wait("document.querySelector('.error p')?.innerText === 'too long'")
    server.close()
    page.problems.clear()
    page.click(".error button")
    page.wait("document.querySelector('.error p')?.innerText.includes('does not answer')")
    page.problems.clear()


class SmallContext(Handler):
    """A model whose tokens are words and whose context has 40 of them: where it is full, an answer ends."""

    def stream(self, pieces):
        def send(usage=None, **choice):
            choices = [] if usage else [{"index": 0, "delta": {}, "finish_reason": None, **choice}]
            chunk = {"choices": choices, "usage": usage}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        body = self.server.asked[-1]
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        room = min(40 - prompt, body.get("max_tokens", 40))
        count = 0
        for piece in pieces:
            if count == room:
                break
            if isinstance(piece, threading.Event):
                piece.wait(PATIENCE)
            else:
                send(delta={"content": piece})
                count += 1
        send(finish_reason="length" if count == room else "stop")
        send(usage={"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count})
        self.wfile.write(b"data: [DONE]\n\n")


def words(letter, count):
    return [f"{letter}{number:02} " for number in range(count)]


def fill_context(server, page):
    """Two turns of a conversation that take 34 of the 40 tokens."""
    server.RequestHandlerClass = SmallContext
    server.answers |= {"First": words("a", 20), "Second": words("b", 12)}
    ask(page, "First")
    ask(page, "Second")


def questions(body):
    return [message["content"] for message in body["messages"] if message["role"] == "user"]


def test_a_full_context_does_not_cut_answers_off(server, visit):
    page = visit()
    page.allowed_statuses = {400}
    fill_context(server, page)
    whole = "document.querySelector('.assistant:last-child:not(.running) .content')?.innerText.trim() === {0}"
    first_two = answers(page)
    server.answers["Third"] = words("c", 12)
    ask(page, "Third")
    # It had room for five words, and was asked for again.
    assert [questions(body) for body in server.asked[2:]] == [["First", "Second", "Third"], ["Second", "Third"]]
    assert answers(page) == [*first_two, "".join(words("c", 12)).strip()]
    facts = page.text(".assistant:last-child .facts")
    assert facts.startswith("12 tokens · ") and "cut off" not in facts
    assert page.count(".user") == 3 and "left out" in page.text(".notice")
    # Regenerating does the same.
    server.answers["Third"] = words("d", 12)
    page.click(".again")
    page.wait(whole.format(json.dumps("".join(words("d", 12)).strip())))
    assert [questions(body) for body in server.asked[4:]] == [["First", "Second", "Third"], ["Second", "Third"]]
    assert answers(page)[:2] == first_two and page.count(".user") == 3
    # Stopped, the second try is what remains.
    never = threading.Event()
    server.answers["Third"] = [*words("e", 8), never, *words("f", 4)]
    page.click(".again")
    page.wait("document.querySelector('.running .content')?.innerText.trim().endsWith('e07')")
    page.press("Escape")
    page.wait(whole.format(json.dumps("".join(words("e", 8)).strip())))
    never.set()
    assert "stopped" in page.text(".assistant:last-child .facts") and len(server.asked) == 8
    # A refusal of the second try leaves what there is.
    more = threading.Event()
    server.answers["Third"] = [*words("g", 3), more, *words("h", 9)]
    page.click(".again")
    page.wait("document.querySelector('.running .content')?.innerText.trim().endsWith('g02')")
    server.refusals = [(400, "not now", None, {})]
    more.set()
    page.wait("document.querySelector('.error p')?.innerText === 'not now'")
    assert answers(page)[2].startswith("g00 g01 g02 h00") and "cut off" in page.text(".assistant:last-of-type .facts")


def test_an_answer_that_is_cut_off_for_another_reason_stays(server, visit):
    page = visit()
    page.allowed_statuses = {400}
    fill_context(server, page)
    # The settings cut it off.
    page.run("localStorage.setItem('minimind.sampling', JSON.stringify({max_tokens: 3}))")
    server.answers["Third"] = words("c", 12)
    ask(page, "Third")
    assert answers(page)[2] == "c00 c01 c02" and "cut off" in page.text(".assistant:last-child .facts")
    assert len(server.asked) == 3
    page.run("localStorage.setItem('minimind.sampling', '{}')")
    # It had more than a quarter of the context.
    page.click("#new")
    server.answers["Endless"] = words("d", 60)
    ask(page, "First")
    ask(page, "Endless")
    assert len(server.asked) == 5 and len(answers(page)[1].split()) == 18
    # There is nothing more to leave out.
    page.click("#new")
    long = "".join(words("q", 35)).strip()
    server.answers[long] = words("e", 12)
    ask(page, "First")
    server.refusals = [(400, "too long", "context_length_exceeded", {})]
    ask(page, long)
    assert len(server.asked) == 8 and answers(page)[1] == "e00 e01 e02 e03 e04"
    assert "cut off" in page.text(".assistant:last-child .facts")


def test_with_the_real_server(browser, binary, tokenizer_directory, tmp_path):
    # The model never ends by itself.
    model = make_model(tmp_path / "model", tokenizer_directory, scale=0.15, context=100_000)
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
        page.wait("document.querySelector('#model').value === 'model' && !document.querySelector('dialog').open")
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
        page.run("localStorage.setItem('minimind.sampling', '{}')")
        ask(page, "On and on", waits=False)
        page.wait("document.querySelector('.running .facts')?.textContent.includes('tokens/s')")
        page.press("Escape")
        page.wait("document.querySelector('.assistant:last-child:not(.running) .facts')?.innerText.includes('stopped')")
        assert [url for url in page.requests if not url.startswith(address)] == []
        assert page.problems == []
