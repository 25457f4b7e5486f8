"""How the web page looks in a headless Chromium: languages, colours, a phone's width, and without a mouse."""

import json

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
    assert {"new", "open", "rename", "remove", "language", "theme", "open-settings", "question", "send", "again"} <= seen
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    interactive = [node for node in tree if not node["ignored"] and node.get("role", {}).get("value") in (
        "button", "textbox", "combobox", "link", "log", "navigation", "complementary")]
    assert len(interactive) > 10
    assert [node for node in interactive if not node.get("name", {}).get("value")] == []
