"""The page with a model that sees: pictures are added, shown, sent, kept, and taken away."""

import base64
import json
import struct
import zlib

import pytest
from page import ask, browser, server, visit  # noqa: F401

pytestmark = pytest.mark.heavy


def png(width, height, colour=(200, 30, 60), noise=0):
    """A picture of one colour; with noise its file is large."""
    import random

    rng = random.Random(1)
    rows = b"".join(b"\0" + bytes(
        (value + (rng.randrange(noise) if noise else 0)) % 256 for _ in range(width) for value in colour) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def seeing(server, visit):  # noqa: F811
    server.model = {"vision": True}

    def open_page():
        page = visit()
        page.wait("!document.querySelector('.error') && document.querySelector('#model').options.length > 0")
        return page

    return open_page


def sent(server, number=-1):  # noqa: F811
    """The pictures and the text of the last question of a request."""
    content = server.asked[number]["messages"][-1]["content"]
    return [part["image_url"]["url"] for part in content[:-1]], content[-1]["text"]


def test_pictures_are_previewed_sent_and_kept(server, seeing, tmp_path):  # noqa: F811
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file, colour in zip(files, ((200, 30, 60), (10, 160, 220))):
        file.write_bytes(png(40, 30, colour))
    page = seeing()
    page.choose_files("#files", *files)
    page.wait("document.querySelectorAll('#attached img').length === 2")
    page.wait("[...document.querySelectorAll('#attached img')].every(image => image.naturalWidth === 40)")
    page.click("#attached .attached:first-child button")
    page.wait("document.querySelectorAll('#attached img').length === 1")
    page.drop("#messages", files[0])
    page.wait("document.querySelectorAll('#attached img').length === 2")
    ask(page, "What is it?")
    urls = ["data:image/png;base64," + base64.b64encode(file.read_bytes()).decode() for file in (files[1], files[0])]
    assert sent(server) == (urls, "What is it?")
    assert page.count("#attached img") == 0 and page.count(".message.user .pictures img") == 2
    # The next question brings them along, and a reload keeps them.
    ask(page, "And now?")
    assert [part.get("type") for part in server.asked[1]["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    assert server.asked[1]["messages"][-1]["content"] == "And now?"
    page.reload()
    page.wait("document.querySelectorAll('.message.user .pictures img').length === 2")
    # An edited question keeps its pictures.
    page.run("document.querySelector('.message.user .edit').click()")
    page.type("!")
    page.press("Enter")
    page.wait("document.querySelector('.version')")
    assert sent(server) == (urls, "What is it?!")


def test_pictures_come_from_the_clipboard_and_large_ones_become_small(server, seeing, tmp_path):  # noqa: F811
    page = seeing()
    small = base64.b64encode(png(20, 20)).decode()
    page.run("""(() => {
      const bytes = Uint8Array.from(atob(%s), letter => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], "image.png", { type: "image/png" }));
      document.querySelector("#question").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, cancelable: true }));
    })()""" % json.dumps(small))
    page.wait("document.querySelectorAll('#attached img').length === 1")
    (tmp_path / "large.png").write_bytes(png(1600, 800, noise=60))
    page.choose_files("#files", tmp_path / "large.png")
    page.wait("document.querySelectorAll('#attached img').length === 2")
    page.wait("document.querySelectorAll('#attached img')[1].naturalWidth === 768")
    assert page.run("document.querySelectorAll('#attached img')[1].naturalHeight") == 384
    ask(page, "Look")
    urls, _ = sent(server)
    assert urls[0] == "data:image/png;base64," + small and urls[1].startswith("data:image/jpeg;base64,")


def test_what_is_no_picture_is_said(server, seeing, tmp_path):  # noqa: F811
    page = seeing()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\0\0")
    page.choose_files("#files", tmp_path / "broken.png")
    page.wait("document.querySelector('#note').innerText.includes('broken.png')")
    assert "cannot read" in page.text("#note") and page.count("#attached img") == 0
    for language, word in (("zh", "无法读取"), ("ja", "読めない")):
        page.run(f"(() => {{ const list = document.querySelector('#language'); list.value = '{language}';"
                 " list.dispatchEvent(new Event('change')); })()")
        page.choose_files("#files", tmp_path / "broken.png")
        page.wait(f"document.querySelector('#note').innerText.includes('{word}')")


def test_conversations_with_pictures_are_saved_and_read_again(server, seeing, tmp_path):  # noqa: F811
    page = seeing()
    (tmp_path / "a.png").write_bytes(png(30, 30))
    page.choose_files("#files", tmp_path / "a.png")
    page.wait("document.querySelectorAll('#attached img').length === 1")
    ask(page, "What is it?")
    conversation = {
        "format": "minimind-conversations", "version": 1, "conversations": [{
            "id": "x", "title": "t", "system": "", "at": 1, "messages": [{
                "id": 1, "parent": None, "role": "user", "content": "q",
                "pictures": ["https://example.org/a.png", "javascript:alert(1)", sent(server)[0][0]]}]}]}
    (tmp_path / "saved.json").write_text(json.dumps(conversation))
    page.choose_files("#import-file", tmp_path / "saved.json")
    # Addresses of other servers are left out.
    page.wait("document.querySelector('#title').innerText === 't'")
    assert page.run("[...document.querySelectorAll('.pictures img')].map(image => image.src)") == sent(server)[0]
