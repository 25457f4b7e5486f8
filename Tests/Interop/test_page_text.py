"""What the web page makes of an answer's text, in a headless Chromium, and what a text must not be able to do."""

import json
import threading

import pytest
from page import ask, browser, server, visit  # noqa: F401

pytestmark = pytest.mark.heavy

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
    for attack in ("<script>window.attacked=1</script>", "<img src=x onerror=\"window.attacked=1\">", "javascript:"):
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
        "## Title ##\ntext\n#### Part\n# Another": "<h3>Title</h3><p>text</p><h4>Part</h4><h2>Another</h2>",
        "### Title": "<h2>Title</h2>",
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


def test_reasoning_is_folded_up_before_the_answer(server, visit):
    page = visit()
    more = threading.Event()
    server.answers["Why?"] = [{"reasoning_content": "<b>Hm"}, {"reasoning_content": " …"}, more, "Because."]
    ask(page, "Why?", waits=False)
    page.wait("document.querySelector('.running .reasoning')?.open && document.querySelector('.reasoning p').textContent === '<b>Hm …'")
    more.set()
    page.wait("document.querySelector('.assistant:not(.running) .content')?.innerText === 'Because.'")
    assert page.text(".reasoning summary") == "Reasoning" and not page.run("document.querySelector('.reasoning').open")
    ask(page, "And?")
    # The next request has it in its field, for templates that show it.
    assert server.asked[1]["messages"][1] == {"role": "assistant", "content": "Because.", "reasoning_content": "<b>Hm …"}
