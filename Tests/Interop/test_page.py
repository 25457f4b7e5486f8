"""The web page in a headless Chromium: what a person does with it, and what a message must not be able to do.

Most tests use `page_server`, which writes what they need; the last one uses `minimind serve`.
"""

import json
import threading

import pytest
from browser import Browser, BrowserPage, check_texts
from page_server import PageServer
from random_model import make_model
from serving import Server

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def server():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page in a fresh tab. In the end no tab may have asked another server or had an error."""
    pages = []

    def open_page(**options):
        page = BrowserPage(browser, **options)
        pages.append(page)
        page.open(server.address)
        page.wait("document.activeElement.id === 'question'")
        return page

    yield open_page
    for page in pages:
        assert [url for url in page.requests if not url.startswith(server.address)] == []
        assert page.problems == []


def ask(page, question, waits=True):
    page.click("#question")
    page.type(question)
    page.press("Enter")
    if waits:
        page.wait("document.querySelector('.message.assistant:last-child:not(.running)')")


def answers(page):
    return page.run("[...document.querySelectorAll('.assistant .content')].map(element => element.innerText.trim())")


def test_an_answer_is_shown_as_it_comes_with_its_speed(server, visit):
    page = visit()
    assert page.text("#model") == "small-chat"
    more = threading.Event()
    server.answers["Hello"] = ["One ", "two", more, " three"]
    ask(page, "Hello", waits=False)
    page.wait("document.querySelector('.running .content')?.innerText === 'One two'")
    assert page.run("document.querySelector('.running').getAttribute('aria-busy')") == "true"
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
        server.answers["Count"] = ["1 ", "2 ", never] + [0.1, "x"] * 100
        ask(page, "Count", waits=False)
        page.wait("document.querySelector('.running .content')?.innerText.trim() === '1 2'")
        stop()
        page.wait("document.querySelector('.assistant:last-child .facts').innerText.includes('stopped')")
        never.set()
        assert server.disconnected.wait(10), "the server was not told"
        never.clear()
    server.answers["Count"] = ["1 2 3"]
    page.click(".again")
    page.wait("document.querySelector('.assistant:last-child .content').innerText === '1 2 3'")
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


ATTACKS = [
    "<img src=x onerror=\"window.attacked=1\">", "<script>window.attacked=1</script>",
    "[click](javascript:window.attacked=1)", "[click](JaVaScRiPt:window.attacked=1)", "[click](java\tscript:alert(1))",
    "[click](data:text/html,<script>1</script>)", "[click](vbscript:x)", "<javascript:alert(1)>", "[x](file:///etc/passwd)",
    "![picture](https://attacker.example/leak.png)", "![picture](javascript:alert(1))",
    "[x](https://a.example/\"onmouseover=\"window.attacked=1)", "`<b onclick=window.attacked=1>`",
    "```html\n<iframe src=javascript:alert(1)></iframe>\n```", "```\" onclick=\"window.attacked=1\nx\n```",
    "# <svg onload=window.attacked=1>", "| <img src=x onerror=window.attacked=1> |\n|--|\n| <b>x</b> |",
    "- <style>*{display:none}</style>", "> <form action=https://attacker.example><button>x", "&lt;img src=x onerror=window.attacked=1&gt;",
    "<a href=\"https://attacker.example\">x</a>", "</div></article><script>window.attacked=1</script>", "\0<\0img src=x>",
]


def test_no_message_puts_markup_into_the_page(server, visit):
    page = visit()
    server.answers["Attack"] = [attack + "\n\n" for attack in ATTACKS]
    ask(page, "Attack")
    page.run("document.querySelectorAll('.content *').forEach(element => { element.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})); if (element.tagName !== 'A') element.click(); })")
    assert page.run("window.attacked") is None
    allowed = {"P", "A", "BR", "CODE", "PRE", "FIGURE", "DIV", "SPAN", "BUTTON", "H2", "TABLE", "THEAD", "TBODY", "TR", "TH",
               "TD", "UL", "LI", "BLOCKQUOTE"}
    assert set(page.run("[...document.querySelectorAll('.assistant .content *')].map(element => element.tagName)")) <= allowed
    attributes = set(page.run(
        "[...document.querySelectorAll('.assistant .content *')].flatMap(element => element.getAttributeNames())"))
    assert attributes <= {"class", "href", "target", "rel", "type", "tabindex"}
    links = page.run("[...document.querySelectorAll('.content a')].map(({protocol, rel, target}) => [protocol, rel, target])")
    assert links and all(link == ["https:", "noopener noreferrer", "_blank"] for link in links)
    shown = page.run("document.querySelector('.assistant .content').textContent")
    for attack in ("<script>window.attacked=1</script>", "<img src=x onerror=\"window.attacked=1\">", "&lt;img", "javascript:"):
        assert attack in shown
    # The same in a question, a title and a system prompt.
    page.click("#new")
    ask(page, ATTACKS[0])
    assert page.text("#title") == ATTACKS[0] and page.count("img") == 0 and page.run("window.attacked") is None


def test_markdown(server, visit):
    page = visit()
    cases = {
        "**bold** *slanted* ~~struck~~ `co*de*` snake_case_name 2 * 3 * 4":
            "<p><strong>bold</strong> <em>slanted</em> <s>struck</s> <code>co*de*</code> snake_case_name 2 * 3 * 4</p>",
        "one\ntwo\n\nthree": "<p>one<br>two</p><p>three</p>",
        "## Title ##\ntext": "<h3>Title</h3><p>text</p>",
        "- a\n- b\n  - c\n- d": "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>",
        "3. a\n4. b\n\ntext": '<ol start="3"><li>a</li><li>b</li></ol><p>text</p>',
        "1. a\n\n   more\n2. b": "<ol><li>a<p>more</p></li><li>b</li></ol>",
        "> a\n> - b": "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>",
        "\\*not\\* `` a`b `` ---": "<p>*not* <code>a`b</code> ---</p>", "***": "<hr>",
        "你好，**世界**。见https://例子.example/路。": None, "a < b && c > d": "<p>a &lt; b &amp;&amp; c &gt; d</p>",
    }
    for source, expected in cases.items():
        html = page.run(f"import('./markdown.js').then(({{render}}) => {{ const element = document.createElement('div');"
                        f" render(element, {json.dumps(source)}, () => 'Copy'); return element.innerHTML; }})")
        if expected:
            assert html == expected, source
    assert "<strong>世界</strong>" in page.run(
        "import('./markdown.js').then(({render}) => { const element = document.createElement('div');"
        " render(element, '你好，**世界**。', () => 'Copy'); return element.innerHTML; })")
    # Whatever comes, and however much, it takes no time and loses nothing.
    hostile = ["[" * 3000, "*" * 3000, "`" * 3000, "> " * 2000, "- " * 2000, "**a " * 2000, "[a](" * 2000, "|-" * 2000,
               "\n".join("  " * depth + "- x" for depth in range(300)), "_a" * 3000, "~~" * 2000, "http://" * 1000]
    milliseconds = page.run(
        f"import('./markdown.js').then(({{render}}) => {{ const began = performance.now(); for (const source of"
        f" {json.dumps(hostile)}) {{ const element = document.createElement('div'); render(element, source, () => 'Copy');"
        f" if (!element.textContent && !element.firstChild) throw source; }} return performance.now() - began; }})")
    assert milliseconds < 5000


def test_code_and_answers_can_be_copied(browser, server, visit):
    page = visit()
    source = "Text\n\n```swift\nlet x = \"<1>\"\n```"
    server.answers["Code"] = [source]
    ask(page, "Code")
    page.run("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    page.click(".code-head button")
    page.wait("window.copied === 'let x = \"<1>\"'")
    page.wait("document.querySelector('.code-head button').innerText === 'Copied'")
    page.click(".assistant .below button")
    assert page.run("window.copied") == source


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


def test_errors_are_told(server, visit):
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


@pytest.mark.parametrize("languages, code, send, hello", [
    ("en-GB", "en", "Send", "What would you like to know?"), ("zh-CN,en", "zh", "发送", "想知道些什么？"),
    ("ja", "ja", "送信", "何を知りたいですか？"), ("fr,ja", "ja", "送信", "何を知りたいですか？"),
    ("fr", "en", "Send", "What would you like to know?")])
def test_languages(server, visit, languages, code, send, hello):
    page = visit(languages=languages)
    assert page.run("document.documentElement.lang") == code
    assert page.text("#send") == send and page.text(".welcome h2") == hello
    page.run("document.querySelector('#language').value = 'zh'; document.querySelector('#language').dispatchEvent(new Event('change'))")
    assert page.text("#send") == "发送"
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert page.text("#send") == "发送" and page.text(".welcome h2") == "想知道些什么？"


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


def test_with_the_real_server(browser, binary, tokenizer_directory, tmp_path):
    # The model never ends by itself.
    model = make_model(tmp_path / "model", tokenizer_directory, scale=0.15)
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
        assert page.text(".assistant .facts").startswith("20 tokens · ") and "longest length" in page.text(".facts")
        page.click(".again")
        page.wait("document.querySelector('.assistant:not(.running) .facts')?.innerText.startsWith('20 tokens')")
        assert answers(page) == first
        page.run("localStorage.setItem('minimind.sampling', '{}')")
        ask(page, "On and on", waits=False)
        page.wait("document.querySelector('.running .facts')?.textContent.includes('tokens/s')")
        page.press("Escape")
        page.wait("document.querySelector('.assistant:last-child .facts').innerText.includes('stopped')")
        assert [url for url in page.requests if not url.startswith(address)] == []
        assert page.problems == []
