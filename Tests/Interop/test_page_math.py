"""Formulas, entities and colours of code in the web page, in a headless Chromium."""

import json

import pytest
from page import ask, browser, server, visit  # noqa: F401

pytestmark = pytest.mark.heavy


def rendered(page, source, what="innerHTML"):
    return page.run(f"import('./markdown.js').then(({{render}}) => {{ const element = document.createElement('div');"
                    f" render(element, {json.dumps(source)}, () => 'Copy'); return element.{what}; }})")


def formula(page, source):
    """The MathML of a formula without its attributes; None if it is shown as it was typed."""
    return page.run(
        f"import('./math.js').then(({{formula}}) => {{ const math = formula({json.dumps(source)}, true); if (!math) return null;"
        " for (const element of math.querySelectorAll('*')) for (const name of element.getAttributeNames())"
        " element.removeAttribute(name); return math.innerHTML; })")


UNDERSTOOD = {
    "a^2 + b_1": "<mrow><msup><mi>a</mi><mn>2</mn></msup><mo>+</mo><msub><mi>b</mi><mn>1</mn></msub></mrow>",
    r"\frac{1}{2}": "<mfrac><mn>1</mn><mn>2</mn></mfrac>", r"\frac12": "<mfrac><mn>1</mn><mn>2</mn></mfrac>",
    r"\sqrt[3]{x}": "<mroot><mi>x</mi><mn>3</mn></mroot>", r"\sqrt x": "<msqrt><mi>x</mi></msqrt>",
    r"\sum_{i=1}^n i": "<mrow><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi></mrow>",
    r"\int_0^\infty": "<msubsup><mo>∫</mo><mn>0</mn><mi>∞</mi></msubsup>", "x_i^2": "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>",
    "f'": "<msup><mi>f</mi><mo>′</mo></msup>", r"\alpha\,\Omega": "<mrow><mi>α</mi><mspace></mspace><mi>Ω</mi></mrow>",
    r"\lim_{x \to 0}": "<munder><mo>lim</mo><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder>",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}":
        "<mrow><mo>(</mo><mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr><mtr><mtd><mi>c</mi></mtd><mtd><mi>d</mi></mtd></mtr></mtable><mo>)</mo></mrow>",
    r"\text{if } x": "<mrow><mtext>if&nbsp;</mtext><mi>x</mi></mrow>", r"\sin x": "<mrow><mrow><mi>sin</mi><mspace></mspace></mrow><mi>x</mi></mrow>",
    r"\mathbb{R}": "<mi>ℝ</mi>", r"\mathbf{v}": "<mi>𝐯</mi>", r"\hat{y}": "<mover><mi>y</mi><mo>^</mo></mover>",
    r"\left\{ x \right.": "<mrow><mo>{</mo><mi>x</mi></mrow>", r"\mathrm{d}x": "<mrow><mi>d</mi><mi>x</mi></mrow>",
    r"a \not= b": "<mrow><mi>a</mi><mo>≠</mo><mi>b</mi></mrow>", "50\\%": "<mrow><mn>50</mn><mi>%</mi></mrow>",
    r"\binom{n}{k}": "<mrow><mo>(</mo><mfrac><mi>n</mi><mi>k</mi></mfrac><mo>)</mo></mrow>", "速度": "<mrow><mtext>速</mtext><mtext>度</mtext></mrow>",
}
NOT_UNDERSTOOD = [
    r"\frac{1}", "a^", "{a", "a}", r"\left( x", r"\unknown{x}", r"\begin{tikzpicture}\end{tikzpicture}", "a^1^2", r"\sqrt[3", "a & b}",
    r"\text{$x$}", r"\begin{matrix} a", r"\begin{matrix} a \end{pmatrix}", "", r"\href{javascript:alert(1)}{x}", "{" * 200 + "}" * 200, "x" * 5000]


def test_formulas_are_mathml(visit):
    page = visit()
    for source, expected in UNDERSTOOD.items():
        assert formula(page, source) == expected, source
    for source in NOT_UNDERSTOOD:
        assert formula(page, source) is None, source


def test_formulas_in_text_lose_nothing(visit):
    page = visit()
    for source in (r"\(a^2\)", r"\[ \sum_i x_i \]", "$a_1*b_2$ and $c*d_3$", "$$\nx\n- y\n+ z\n$$", r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
                   "Text\n\\[\n= y\n\\]\nmore", "- item $x_1$\n- and \\(y\\)", "**$x$**"):
        html = rendered(page, source)
        assert "<math" in html and "<em>" not in html and "<ul><li>y" not in html and "\\" not in rendered(page, source, "textContent"), html
    # What is none, or is not understood, or not complete yet, stays as it was typed.
    for source in (r"\(\unknown{a}_1 \, b_2\)", r"\[ \oops_a \; c \]", r"$$\nope$$", r"\(\not\)", r"\(a^2", r"\[ x", "$$ x", r"a \, b \; c", r"\alpha",
                   "It costs $5, or $6 with cream.", "US$5 or CA$6", "$5 (US$)", "from $10 to $20", "a$b$c"):
        assert rendered(page, source, "textContent") == source and "<math" not in rendered(page, source), source
    assert rendered(page, "`$x$` `\\(y\\)`") == "<p><code>$x$</code> <code>\\(y\\)</code></p>"
    # An escaped bracket that begins no formula is itself.
    assert rendered(page, "[a\\]b](https://example.org/)", "textContent") == "a]b"


def test_entities_are_characters(visit):
    page = visit()
    for source, expected in {
            "&amp; &lt;b&gt; &quot;x&quot; &#39; &#x27; &nbsp;&copy; &mdash; &eacute;": "& <b> \"x\" ' ' \xa0© — é", "AT&T; a&b &nosuch; &": "AT&T; a&b &nosuch; &",
            "&#0; &#xd800; &#x110000; &#128512;": "� � � 😀", "`&amp;`": "&amp;", "&lt;script&gt;alert(1)&lt;/script&gt;": "<script>alert(1)</script>"}.items():
        assert rendered(page, source, "textContent") == expected and "<script" not in rendered(page, source)


def test_code_is_coloured(visit):
    page = visit()

    def colours(language, code):
        html = rendered(page, f"```{language}\n{code}\n```")
        assert rendered(page, f"```{language}\n{code}\n```", "querySelector('code').textContent") == code
        return page.run(f"(() => {{ const element = document.createElement('template'); element.innerHTML = {json.dumps(html)};"
                        " return [...element.content.querySelectorAll('code span')].map(span => [span.className.slice(5), span.textContent]); })()")

    assert colours("python", "def f(x):  # why\n    return '''a\nb''' + \"#\" * 0x1F") == [
        ["keyword", "def"], ["comment", "# why"], ["keyword", "return"], ["string", "'''a\nb'''"], ["string", '"#"'], ["number", "0x1F"]]
    assert colours("js", "const s = `//`; /* if */ // for\nfoo1") == [
        ["keyword", "const"], ["string", "`//`"], ["comment", "/* if */"], ["comment", "// for"]]
    assert colours("swift", "let x = \"a\\\"b\" // 1") == [["keyword", "let"], ["string", '"a\\"b"'], ["comment", "// 1"]]
    assert colours("rust", "fn f<'a>(c: &'a str) { '\\n'; 'x' }") == [["keyword", "fn"], ["keyword", "str"], ["string", "'\\n'"], ["string", "'x'"]]
    assert colours("sql", "SELECT 1 -- x") == [["keyword", "SELECT"], ["number", "1"], ["comment", "-- x"]]
    assert colours("html", "<!-- <b> --><b class=\"x\">") == [["comment", "<!-- <b> -->"], ["keyword", "<b"], ["string", '"x"'], ["keyword", ">"]]
    assert colours("json", '{"a": true}') == [["string", '"a"'], ["keyword", "true"]]
    assert colours("nosuch", "if 1") == [] and colours("", "if 1") == []


def test_hostile_formulas_and_code_take_no_time(visit):
    page = visit()
    hostile = ["$" * 3000, "\\(" * 3000, "\\[\n" * 2000, "$$\n" * 2001, "$a" * 3000, "&" * 3000, "&a" * 3000, "\\begin{a}" * 500,
               "$" + "{" * 2000 + "$", "$" + "\\frac" * 700 + "$", "$" + "a^" * 1500 + "$", "$" + "\\left(" * 600 + "$",
               *(f"```{language}\n{piece * 5000}\n```" for language in ("js", "python", "html", "rust") for piece in ("/*", '"', "'", "`", "<", "'''", "0x", "a1"))]
    assert page.run(
        f"import('./markdown.js').then(({{render}}) => {{ const began = performance.now(); for (const source of"
        f" {json.dumps(hostile)}) {{ const element = document.createElement('div'); render(element, source, () => 'Copy');"
        " if (!element.textContent) throw source; } return performance.now() - began; })") < 5000


def test_a_formula_is_drawn_and_read_aloud(server, visit):
    page = visit()
    server.answers["Root"] = [r"The root: \(\frac{-b \pm \sqrt{b^2-4ac}}{2a}\)."]
    ask(page, "Root")
    assert page.run("document.querySelector('math mfrac').getBoundingClientRect().height > document.querySelector('math mfrac').firstChild.getBoundingClientRect().height")
    assert page.run("document.querySelector('math').getAttribute('alttext')") == r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}"
