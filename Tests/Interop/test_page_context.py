"""What the web page does with conversations that are longer than the model can read, in a headless Chromium."""

import json
import threading

import pytest
from conftest import PATIENCE
from page import answers, ask, browser, server, visit  # noqa: F401
from page_server import Handler

pytestmark = pytest.mark.heavy


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
    page.wait("document.querySelector('.error .server')?.innerText === 'not now'")
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


class Strict(SmallContext):
    """Refuses what does not fit, in OpenAI's words."""

    def refusal(self, body):
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        if prompt >= 40:
            return (400, f"This model's maximum context length is 40 tokens. However, your messages resulted in {prompt} "
                    "tokens. Please reduce the length of the messages.", "context_length_exceeded", {})
        return None


@pytest.mark.parametrize("languages, words", [
    ("en", "This is longer than the 40 tokens"), ("zh", "内容超出了模型能读取的 40 个词元"), ("ja", "モデルが読める 40 トークンを超えています")])
def test_a_long_conversation_costs_at_most_one_refusal(server, visit, languages, words):
    server.model = {"context_length": 40}
    page = visit(languages=languages)
    page.allowed_statuses = {400}
    server.RequestHandlerClass = Strict
    turns = [{"role": role, "content": f"{role}{turn} " * 9} for turn in range(40) for role in ("user", "assistant")]
    # A conversation from elsewhere, of which the page does not know how many tokens it has.
    page.run(f"localStorage.setItem('minimind.conversation.x', JSON.stringify({{id: 'x', title: 'Long', system: '', updated: 9, messages: {json.dumps(turns)}}}))")
    page.reload()
    page.wait("document.querySelector('#model').value")
    ask(page, "And now?")
    assert len(server.asked) == 2 and len(questions(server.asked[0])) == 41 and questions(server.asked[1])[-1] == "And now?"
    assert 1 < sum(len(message["content"].split()) for message in server.asked[1]["messages"]) < 40
    # The next one is right at once.
    ask(page, "And then?")
    assert len(server.asked) == 3 and page.count(".notice") == 1
    # A question that does not fit by itself: the button leads to it.
    ask(page, "q " * 50, waits=False)
    page.wait(f"document.querySelector('.error p')?.innerText.startsWith({json.dumps(words)})")
    page.click(".error button")
    page.wait("document.activeElement.value?.startsWith('q q')")
