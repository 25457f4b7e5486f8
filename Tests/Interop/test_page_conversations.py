"""What a person does with conversations in the web page, beside asking: edits, continues, searches, saves and reads them."""

import json

import pytest
from page import answers, ask, browser, server, visit  # noqa: F401

pytestmark = pytest.mark.heavy


def finish(page, answer):
    page.wait(f"document.querySelector('.assistant:last-child:not(.running) .content')?.innerText === {json.dumps(answer)}")


def questions(page):
    return page.run("[...document.querySelectorAll('.user .content')].map(element => element.innerText)")


def write_over(page, text):
    """Replaces what stands in the field that has the focus."""
    page.run("document.activeElement.select()")
    page.type(text)


def test_an_edited_question_begins_a_branch(server, visit):
    page = visit()
    server.answers |= {"One": ["1"], "Two": ["2"], "Three": ["3"], "Four": ["4"]}
    ask(page, "One")
    ask(page, "Two")
    page.click(".user .edit")
    page.wait("document.activeElement.closest('.editing')")
    assert page.run("document.activeElement.value") == "One"
    # Escape changes nothing.
    write_over(page, "nonsense")
    page.press("Escape")
    assert questions(page) == ["One", "Two"] and page.run("document.activeElement.id") == "question"
    page.click(".user .edit")
    write_over(page, "Three")
    page.press("Enter")
    finish(page, "3")
    assert questions(page) == ["Three"] and [message["content"] for message in server.asked[-1]["messages"]] == ["Three"]
    assert page.text(".user .version") == "2/2" and page.run("document.querySelector('.user .later').disabled")
    # The old branch is there as a whole, and the keyboard stays at the arrows.
    page.click(".user .earlier")
    assert questions(page) == ["One", "Two"] and answers(page) == ["1", "2"] and page.text(".user .version") == "1/2"
    assert page.run("document.activeElement.className").endswith("later")
    page.run("document.activeElement.click()")
    assert questions(page) == ["Three"]
    # Another answer is a branch as well, and so is what follows it.
    server.answers["Three"] = ["3, again"]
    page.click(".again")
    finish(page, "3, again")
    ask(page, "Four")
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["Three", "3, again", "Four"]
    page.click(".assistant .earlier")
    assert questions(page) == ["Three"] and answers(page) == ["3"]
    page.click(".assistant .later")
    assert questions(page) == ["Three", "Four"]
    page.reload()
    page.wait("document.querySelector('#model').value")
    assert questions(page) == ["Three", "Four"] and page.text(".user .version") == "2/2"


def test_an_arrow_goes_up_to_the_last_question(server, visit):
    page = visit()
    page.press("ArrowUp")
    assert page.count(".editing") == 0
    ask(page, "First")
    ask(page, "Second")
    page.press("ArrowUp")
    page.wait("document.activeElement.closest('.editing')")
    assert page.run("document.activeElement.value") == "Second"
    write_over(page, "Third")
    page.press("Enter")
    page.wait("document.querySelectorAll('.assistant:not(.running)').length === 2")
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["First", "An answer.", "Third"]


def test_a_cut_answer_goes_on(server, visit):
    page = visit()
    server.answers |= {"Count": ["1 2 ", "3"], "1 2 3": [" 4", " 5"]}
    server.endings["Count"] = "length"
    ask(page, "Count")
    assert "cut off" in page.text(".facts")
    page.click(".go-on")
    finish(page, "1 2 3 4 5")
    assert server.asked[1]["messages"] == [
        {"role": "user", "content": "Count"}, {"role": "assistant", "content": "1 2 3"}]
    facts = page.text(".facts")
    assert facts.startswith("4 tokens") and "cut off" not in facts and page.count(".go-on") == 0
    # A refusal leaves what there was.
    page.allowed_statuses = {400}
    server.answers["Count"] = ["1 2 ", "3"]
    page.click(".again")
    finish(page, "1 2 3")
    server.refusals = [(400, "no", None, {})]
    page.click(".go-on")
    page.wait("document.querySelector('.error')")
    assert answers(page) == ["1 2 3"]


def test_search_finds_titles_and_messages_of_all_branches(server, visit):
    page = visit()
    server.answers["Fruit?"] = ["Perhaps a **pomegranate**."]
    ask(page, "Fruit?")
    server.answers["Fruit?"] = ["An apple."]
    page.click(".again")
    finish(page, "An apple.")
    page.click("#new")
    ask(page, "Weather")
    titles = "[...document.querySelectorAll('#conversations .open')].map(button => button.firstChild.data)"
    page.press("k", control=True)
    assert page.run("document.activeElement.id") == "search"
    page.type("POMEGRANATE")
    assert page.run(titles) == ["Fruit?"] and page.text("#conversations mark") == "pomegranate"
    page.click("#conversations .open")
    assert answers(page) == ["Perhaps a pomegranate."] and page.text(".assistant .version") == "1/2"
    write_over_search = "document.querySelector('#search').value = '{0}'; document.querySelector('#search').dispatchEvent(new Event('input'))"
    page.run(write_over_search.format("weath"))
    assert page.run(titles) == ["Weather"]
    page.run(write_over_search.format("no such thing"))
    assert page.text("#conversations") == "Nothing found"
    page.run(write_over_search.format(""))
    assert page.run(titles) == ["Weather", "Fruit?"]


def test_conversations_are_saved_and_read(server, visit, tmp_path):
    page = visit()
    page.save_files_in(tmp_path)
    server.answers["A/B?"] = ["**A**."]
    ask(page, "A/B?")
    server.answers["A/B?"] = ["B."]
    page.click(".again")
    finish(page, "B.")
    page.click("#new")
    ask(page, "Other")

    def save(button, name):
        page.run(f"document.querySelector('{button}').click()")
        page.wait_for_file(name)
        return tmp_path / name

    page.click("#open-transfer")
    whole = save("#save-all", "minimind.json")
    page.press("Escape")
    page.click("#conversations li:nth-child(2) .open")
    page.click("#open-transfer")
    assert save("#save-markdown", "A B.md").read_text() == "# A/B?\n\n## You\n\nA/B?\n\n## Answer\n\nB.\n"
    one = json.loads(save("#save-json", "A B.json").read_text())
    assert one["format"] == "minimind-conversations" and len(one["conversations"]) == 1
    # Into another browser.
    other = visit()
    other.click("#open-transfer")
    assert other.run("['#save-json', '#save-markdown', '#save-all'].every(id => document.querySelector(id).disabled)")
    other.choose_files("#import-file", whole)
    other.wait("document.querySelector('#transfer-note').innerText === 'Conversations read: 2.'")
    other.press("Escape")
    other.run("document.querySelector('#conversations li:nth-child(2) .open').click()")
    assert answers(other) == ["B."] and other.text(".assistant .version") == "2/2"
    other.reload()
    other.wait("document.querySelector('#model').value")
    assert other.count("#conversations li") == 2


def test_files_of_other_programs_are_read_and_bad_ones_refused(server, visit, tmp_path):
    page = visit()
    page.click("#open-transfer")

    def read(name, content):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        page.run("document.querySelector('#transfer-note').textContent = ''")
        page.choose_files("#import-file", path)
        page.wait("document.querySelector('#transfer-note').innerText !== ''")
        return page.text("#transfer-note")

    message = {"role": "user", "content": "Hi <b>there</b>"}
    lines = [{"messages": [{"role": "system", "content": "Be brief."}, message, {"role": "assistant", "content": "Hm."}]},
             {"messages": [{"role": "tool", "content": "x"}]}, {"messages": "none"}, 7]
    assert read("talk.jsonl", "\n".join(map(json.dumps, lines))) == \
        "Conversations read: 1. Entries left out, as they are none: 3."
    assert page.text("#title") == "Hi <b>there</b>" and answers(page) == ["Hm."]
    nothing = "holds no conversations that this page can read."
    odd = {"id": "x", "title": "t", "system": "", "at": 1}
    tree = [{"id": 1, "parent": 2, **message}, {"id": 2, "parent": 1, **message}]
    for content in ("", "text", "[]", "{}", "null", json.dumps([odd | {"messages": tree}]),
                    json.dumps(odd | {"messages": [{"id": 1, "parent": None, "role": "user", "content": ["x"]}]})):
        assert nothing in read("bad.json", content), content
    # What the page does not know of a message is not taken over.
    strange = odd | {"messages": [{"id": 1, "parent": None, "role": "assistant", "content": "x", "first": {}, "rate": "fast", "tokens": -1}]}
    assert read("strange.json", json.dumps(strange)) == "Conversations read: 1."
    assert answers(page) == ["x"] and page.text(".facts") == ""
    page.press("Escape")
    assert page.run("document.querySelector('#conversations').children.length") == 2


def test_text_files_are_put_into_the_question(server, visit, tmp_path):
    page = visit()
    (tmp_path / "notes.md").write_text("A ``` fence\r\n", encoding="utf-8")
    (tmp_path / "code.py").write_text("print(1)\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "long.txt").write_bytes(b"x" * (1 << 20) + b"x")
    page.type("Read this")
    page.drop("#messages", tmp_path / "notes.md", tmp_path / "code.py")
    field = "document.querySelector('#question').value"
    page.wait(f"{field}.includes('print')")
    expected = "Read this\nnotes.md:\n````md\nA ``` fence\n````\ncode.py:\n```py\nprint(1)\n```\n"
    assert page.run(field) == expected and page.run("document.activeElement.id") == "question"
    page.choose_files("#files", tmp_path / "picture.png", tmp_path / "latin.txt", tmp_path / "long.txt")
    page.wait("document.querySelector('#note').innerText.includes('at most 1 MiB: latin.txt, long.txt')")
    # A model that reads text only.
    assert page.text("#note").endswith("this model reads text only: picture.png") and page.count("#attached img") == 0
    assert page.run(field) == expected
    (tmp_path / "ticks.txt").write_text("` `` " * 100_000)
    page.choose_files("#files", tmp_path / "ticks.txt")
    page.wait(f"{field}.length > 500_000")
    page.run(f"{field} = {json.dumps(expected)}")
    page.press("Enter")
    page.wait("document.querySelector('.assistant:not(.running)')")
    assert server.asked[0]["messages"][0]["content"] == expected.strip()


def test_shortcuts_are_listed_and_work(server, visit):
    page = visit()
    page.press("/", control=True)
    page.wait("document.querySelector('#shortcuts').open")
    listed = page.text("#shortcut-list")
    assert all(key in listed for key in ("Enter", "Shift+Enter", "Esc", "↑", "Ctrl+K", "Ctrl+Shift+O", "Ctrl+/"))
    page.press("Escape")
    page.wait("!document.querySelector('#shortcuts').open")
    ask(page, "Hello")
    page.press("o", control=True, shift=True)
    assert page.count(".welcome") == 1
