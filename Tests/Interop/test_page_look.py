"""How the web page looks in a headless Chromium: languages, colours, a phone's width, and without a mouse."""

import importlib.util
import json
from pathlib import Path

import pytest
from browser import check_texts
from page import ask, browser, server, visit  # noqa: F401

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("languages, code, send, hello", [
    ("en-GB", "en", "Send", "What would you like to know?"), ("zh-CN,en", "zh", "发送", "想了解些什么？"),
    ("ja", "ja", "送信", "何について知りたいですか？"), ("fr,ja", "ja", "送信", "何について知りたいですか？"),
    ("fr", "en", "Send", "What would you like to know?")])
def test_languages(server, visit, languages, code, send, hello):
    page = visit(languages=languages)
    assert page.run("document.documentElement.lang") == code
    assert page.text("#send") == send and page.text(".welcome h2") == hello
    page.run("document.querySelector('#language').value = 'zh'; document.querySelector('#language').dispatchEvent(new Event('change'))")
    assert page.text("#send") == "发送"
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert page.text("#send") == "发送" and page.text(".welcome h2") == "想了解些什么？"


def test_all_languages_have_all_texts(visit):
    check_texts(visit(), "words.js")


def test_light_and_dark(server, visit):
    page = visit(dark=True)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.run(background)
    choose = "document.querySelector('#theme').value = '{0}'; document.querySelector('#theme').dispatchEvent(new Event('change'))"
    page.run(choose.format("light"))
    light = page.run(background)
    assert dark != light
    page.reload()
    assert page.run(background) == light
    page.run(choose.format("auto"))
    assert page.run(background) == dark
    page.appear(1200, 800, dark=False)
    page.wait(f"{background} === {json.dumps(light)}")


@pytest.mark.parametrize("languages", ["en", "zh", "ja"])
def test_a_phone_never_scrolls_sideways(server, visit, languages):
    page = visit(languages=languages, width=360, height=640)
    server.answers["Wide"] = ["w" * 500, "\n\n```\n" + "c" * 500 + "\n```\n\n| " + "t" * 300 + " | b |\n|--|--|\n| 1 | 2 |\n\n",
                              "https://example.org/" + "u" * 300]
    fits = "innerWidth === 360 && document.documentElement.scrollWidth === 360"
    assert page.run(fits)
    ask(page, "Wide")
    ask(page, "q" * 400)
    assert page.run(fits)
    assert page.run("document.querySelector('#composer').getBoundingClientRect().bottom <= innerHeight")
    page.click("#open-sidebar")
    page.wait("document.querySelector('#sidebar').getBoundingClientRect().left === 0")
    page.press("Escape")
    page.wait("document.querySelector('#sidebar').getBoundingClientRect().right <= 0")
    page.click("#open-settings")
    assert page.run(fits) and page.run("document.querySelector('dialog').getBoundingClientRect().right <= 360")


def test_the_keyboard_suffices_and_everything_has_a_name(server, visit):
    page = visit()
    page.type("line one")
    page.press("Enter", shift=True)
    page.type("line two")
    assert page.run("document.querySelector('#question').value") == "line one\nline two"
    # The Enter that chooses a word of Chinese or Japanese input does not send.
    page.run("document.querySelector('#question').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))")
    assert server.asked == []
    page.press("Enter")
    page.wait("document.querySelector('.assistant:not(.running)')")
    assert server.asked[0]["messages"][0]["content"] == "line one\nline two"
    seen = set()
    for _ in range(30):
        page.press("Tab")
        seen.add(page.run("document.activeElement.id || document.activeElement.className"))
    assert {"new", "search", "open", "rename", "remove", "open-transfer", "open-shortcuts", "language", "theme", "open-settings", "edit",
            "attach", "question", "send", "again"} <= seen
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    interactive = [node for node in tree if not node["ignored"] and node.get("role", {}).get("value") in (
        "button", "textbox", "combobox", "link", "log", "navigation", "complementary")]
    assert len(interactive) > 10
    assert [node for node in interactive if not node.get("name", {}).get("value")] == []


#: What a page of a conversation can hold.
EVERYTHING = r"""## Heading

Text with **bold**, `code`, [a link](https://example.org/), &amp; \(x^2\).

$$\sum_{i=1}^n i = \frac{n(n+1)}{2}$$

- a list
  1. of lists

> quoted

```python
def f(x):  # comment
    return "text" + str(1.5)
```

| a | b |
|--|--:|
| 1 | 2 |
"""


@pytest.fixture(scope="module")
def axe():
    """axe-core, the checker of accessibility, as a script."""
    package = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    return (Path(package) / "axe.min.js").read_text(encoding="utf-8")


def show_everything(server, page):
    """A conversation with all that a message can have."""
    server.answers["Show"] = [{"reasoning_content": "Well …"}, EVERYTHING]
    ask(page, "Show")
    server.endings["Show"] = "length"
    page.click(".again")
    page.wait("document.querySelector('.assistant:last-child:not(.running) .go-on')")
    page.run("document.activeElement.blur()")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 375])
def test_axe_finds_nothing(server, visit, axe, dark, width):
    page = visit(width=width, height=800, dark=dark)
    page.allowed_statuses = {400}
    page.run(axe + "; 0")

    def check(what):
        found = page.run("axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map("
                         "({id, nodes}) => [id, nodes.map(({html, failureSummary}) => [html, failureSummary])]))")
        assert found == [], what

    check("the empty page")
    show_everything(server, page)
    check("a conversation")
    page.run("document.querySelector('.edit').click()")
    check("editing")
    page.press("Escape")
    for button, dialog in (("#open-settings", "settings"), ("#open-transfer", "transfer"), ("#open-shortcuts", "shortcuts")):
        page.run(f"document.querySelector('{button}').click()")
        page.wait(f"document.querySelector('#{dialog}').open")
        check(dialog)
        page.run(f"document.querySelector('#{dialog}').close()")
    server.refusals = [(400, "odd", None, {})]
    ask(page, "Refused", waits=False)
    page.wait("document.querySelector('.error')")
    check("an error")
    page.run("document.body.classList.add('listing'); document.querySelector('#search').value = 'Show';"
             " document.querySelector('#search').dispatchEvent(new Event('input'))")
    page.wait("getComputedStyle(document.querySelector('#sidebar')).transform.replace(/[^1-9]/g, '') === '' || innerWidth > 1000"
              " || document.querySelector('#sidebar').getBoundingClientRect().left === 0")
    check("the list")


@pytest.mark.parametrize("languages", ["en", "zh", "ja"])
def test_a_phone_has_room_for_everything(server, visit, languages):
    page = visit(languages=languages, width=360, height=640)
    show_everything(server, page)
    fits = "document.documentElement.scrollWidth === 360"
    assert page.run(fits)
    page.run("document.querySelector('.edit').click()")
    assert page.run(fits)
    page.press("Escape")
    for dialog in ("settings", "transfer", "shortcuts"):
        page.run(f"document.querySelector('#open-{dialog}').click()")
        assert page.run(f"{fits} && document.querySelector('#{dialog}').scrollWidth <= document.querySelector('#{dialog}').clientWidth")
        page.run(f"document.querySelector('#{dialog}').close()")
    # WCAG 2.2 asks for 24 pixels at least.
    small = page.run("[...document.querySelectorAll('.message button, .code button, #composer button, #talk > header button')].filter(button =>"
                     " { const {width, height} = button.getBoundingClientRect(); return width && (width < 24 || height < 24); }).map(button => button.outerHTML)")
    assert small == []
