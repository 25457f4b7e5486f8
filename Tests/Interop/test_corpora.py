"""The readers behind scripts/extract_corpora.py, on texts written here: no package is downloaded."""

import gzip
import struct
import sys

import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))

import byte_baseline  # noqa: E402
import extract_corpora  # noqa: E402
from corpora import preferences, readers  # noqa: E402


def test_html_keeps_paragraphs_and_drops_menus_listings_and_tables(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<html><head><title>no</title></head><body><ul class='docnav'><li>Next</li></ul><h1>Title</h1>"
        "<p>One <em>two</em>\n three.<br>Four.</p><pre>code</pre><table><tr><td>cell</td></tr></table>"
        "<div class='para'>第一行\n第二行。</div></body></html>", encoding="utf-8")
    assert readers.html_paragraphs(page) == ["Title", "One two three. Four.", "第一行第二行。"]


def test_manual_pages_lose_requests_fonts_and_examples(tmp_path):
    page = tmp_path / "page.1.gz"
    page.write_bytes(gzip.compress(
        ".TH LS 1\n.SH 描述\n列出\\fB文件\\fR的\n.BR ls (1)\n信息\\-表。\n.nf\n$ ls -l\n.fi\n.\\\" comment\n结束。\n".encode()))
    assert readers.roff_paragraphs(page) == ["列出文件的 ls(1) 信息-表。", "结束。"]


def test_mo_catalogs_pair_original_and_translation(tmp_path):
    originals, translations = [b"", b"ctx\x04Hello", b"Tree\0Trees"], [b"header", "你好".encode(), "树".encode()]
    strings = originals + translations
    table_size = 28 + 8 * len(strings)
    offsets, blob = [], b""
    for string in strings:
        offsets.append((len(string), table_size + len(blob)))
        blob += string + b"\0"
    path = tmp_path / "catalog.mo"
    path.write_bytes(
        struct.pack("<7I", 0x950412DE, 0, 3, 28, 28 + 24, 0, 0) + b"".join(struct.pack("<2I", *o) for o in offsets) + blob)
    assert readers.mo_catalog(path) == {"": "header", "Hello": "你好", "Tree": "树"}


def test_chatterbot_files_give_turns_with_quotes_and_continued_lines(tmp_path):
    path = tmp_path / "topic.yml"
    path.write_text("categories:\n- topic\nconversations:\n- - What year?\n  - '1963'\n- - A long\n    question\n  - \"\\\"Yes\\\"\"\n")
    assert readers.chatterbot_conversations(path) == [["What year?", "1963"], ["A long question", '"Yes"']]


def test_a_rejected_answer_belongs_to_another_question_and_conversations_of_several_turns_are_left_out():
    def row(*turns):
        return {"messages": [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]}

    rows = [row(f"question {index}", f"answer {index}") for index in range(20)] + [row("a", "b", "c", "d")]
    pairs = list(preferences.pairs_from_questions(rows))
    assert len(pairs) == 20 and pairs == list(preferences.pairs_from_questions(rows[::-1]))
    for pair in pairs:
        assert pair["chosen"][0]["content"] == pair["prompt"][0]["content"].replace("question", "answer")
        assert pair["rejected"] != pair["chosen"] and pair["rejected"][0]["content"].startswith("answer")


def test_documents_are_bounded_and_nothing_of_a_paragraph_is_lost():
    paragraphs = ["短句。" * 3, "一个很长的段落。" * 200, "word " * 20 + "end."]
    documents = list(extract_corpora.gathered(paragraphs))
    assert all(len(document.encode()) <= extract_corpora.DOCUMENT_BYTES for document in documents)
    assert "".join(documents).replace("\n", "") == "".join(paragraphs)


def test_a_document_is_held_out_by_its_own_text_about_once_in_32():
    share = sum(extract_corpora.is_held_out(f"document {index}") for index in range(32_000)) / 32_000
    assert share == pytest.approx(1 / 32, rel=0.1)


def test_the_count_model_is_a_distribution_and_knows_what_it_has_read():
    model = byte_baseline.CountModel([b"abracadabra", b"abra"])
    total = sum(model.probability(b"abr", bytes([byte])) for byte in range(256))
    assert total == pytest.approx(1)
    assert model.bits(b"abracadabra") < 20 < model.bits(b"zzzzzzzzzzz")
