"""`minimind chat` on a terminal: what is seen while a message is edited, and what reaches the model."""

import json
import os
import signal
import termios

import pytest
from conftest import wait_until
from random_model import make_model
from terminal import SeenTerminal

FAMILY, FLAG, ACCENT = "👨‍👩‍👧", "🇯🇵", "e\u0301"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer_directory):
    return make_model(tmp_path_factory.mktemp("chat") / "model", tokenizer_directory, scale=0.15)


@pytest.fixture
def chat(binary, model, tmp_path):
    """Starts the chat on a terminal, at its prompt on a screen that is otherwise empty."""
    chats = []

    def start(**options):
        terminal = SeenTerminal(
            binary, "chat", "--model", model, "--max-tokens", 2, environment={"XDG_STATE_HOME": str(tmp_path)}, **options)
        chats.append(terminal)
        terminal.see(lambda text: text.endswith("\n>"))
        terminal.write(b"\x0c")
        terminal.see(">")
        return terminal

    yield start
    for terminal in chats:
        if not terminal.has_ended:
            os.kill(terminal.process, signal.SIGKILL)
            terminal.exit_code()


def said(terminal, tmp_path, name="talk.jsonl"):
    """The questions of the conversation, as they reached the model."""
    path = tmp_path / name
    terminal.see(lambda text: text.endswith("\n>"))
    terminal.write(f"/save {path}\r".encode())
    wait_until(path.exists, "nothing is saved")
    return [message["content"] for message in json.loads(path.read_text(encoding="utf-8"))["messages"][::2]]


def test_pasted_lines_are_one_message(chat, tmp_path):
    terminal = chat()
    terminal.write(b"Look: \x1b[200~one\r\ntwo\n\tth\x1bree\x07")
    terminal.write(b"\x1b[201~!")
    terminal.see("> Look: one\ntwo\n three!")
    terminal.write(b"\r")
    assert said(terminal, tmp_path) == ["Look: one\ntwo\n three!"]


@pytest.mark.parametrize("newline", [b"\\\r", b"\x1b\r", b"\x1b[13;2u"])
def test_a_message_of_several_lines(chat, tmp_path, newline):
    terminal = chat()
    terminal.write(b"one" + newline)
    terminal.write(b"three")
    terminal.see("> one\nthree")
    # Up goes to the line above, and from the first one into the history.
    terminal.write(b"\x1b[A\x05" + newline + b"two")
    terminal.see("> one\ntwo\nthree")
    terminal.write(b"\x1b[B \x1b[3~!")
    terminal.see("> one\ntwo\nthr !e")
    terminal.write(b"\r")
    assert said(terminal, tmp_path) == ["one\ntwo\nthr !e"]
    # It comes back from the history as a whole, in another session as well.
    again = chat()
    again.write(b"\x1b[A\x1b[A")
    again.see("> one\ntwo\nthr !e")


@pytest.mark.parametrize("joins", [True, False])
def test_whole_characters_are_edited(chat, tmp_path, joins):
    terminal = chat(joins=joins)
    terminal.write(f"a{FAMILY}b{FLAG}c{ACCENT}d".encode())
    terminal.see(f"> a{FAMILY}b{FLAG}c{ACCENT}d")
    terminal.write(b"\x7f\x7f")
    terminal.see(f"> a{FAMILY}b{FLAG}c")
    terminal.write(b"\x7f\x7f\x7f")
    terminal.see(f"> a{FAMILY}")
    terminal.write(b"\x1b[D\x1b[D\x1b[3~")
    terminal.see(f"> {FAMILY}")
    terminal.write(f"\x1b[C{FLAG}\x1b[D\x1b[D\x1b[3~你好".encode())
    terminal.see(f"> 你好{FLAG}")
    terminal.write(b"\r")
    assert said(terminal, tmp_path) == [f"你好{FLAG}"]


@pytest.mark.parametrize("reflows", [True, False])
@pytest.mark.parametrize("width, other", [(40, 24), (24, 40), (40, 13)])
def test_the_window_changes_while_a_line_is_edited(chat, tmp_path, reflows, width, other):
    terminal = chat(width=width, reflows=reflows)
    terminal.write(b"/system\r")
    terminal.see(lambda text: text.startswith("> /system\nThere is no") and text.endswith("\n>"))
    line = "a wrapped line of words that goes on"
    terminal.write(line.encode())
    terminal.see(lambda text: text.replace("\n", "").endswith(line))
    terminal.resize(other)
    terminal.write(b" and on")
    wanted = f"> {line} and on"
    rows = "\n".join(wanted[start:start + other].rstrip() for start in range(0, len(wanted), other))
    terminal.see(lambda text: text.endswith(rows))
    # What stood above is still there.
    assert "/system" in terminal.screen.text() and "There is no" in terminal.screen.text()
    terminal.write(b"\x01start: \r")
    assert said(terminal, tmp_path)[-1] == f"start: {line} and on"


def test_long_lines_wrap_and_shrink(chat):
    terminal = chat(width=10)
    terminal.write(b"12345678")
    terminal.see("> 12345678")
    terminal.write("9你你你你你".encode())
    terminal.see("> 12345678\n9你你你你\n你")
    terminal.write(b"\x7f\x7f")
    terminal.see("> 12345678\n9你你你")
    terminal.write(b"\x01x")
    terminal.see("> x1234567\n89你你你")
    terminal.write(b"\x0b")
    terminal.see("> x")


def test_keys_of_a_line_editor(chat, tmp_path):
    terminal = chat()
    for keys, seen in (
            (b"one two three", "> one two three"), (b"\x1bb\x1bbX", "> one Xtwo three"), (b"\x1bd", "> one X three"),
            (b"\x1b[1;5CY", "> one X threeY"), (b"\x17", "> one X"), (b"\x19", "> one X threeY"), (b"\x15", ">"),
            (b"\x19", "> one X threeY"), (b"\x01\x06\x06\x0b", "> on"), (b"\x1b[H\x04", "> n"), (b"\x1b[F\x02\x1bOD\x08z", "> zn"),
            (b"\x1b", "> zn"), (b"\x1b[Z\x1b[99;99;99~", "> zn")):
        terminal.write(keys)
        terminal.see(seen)
    # In pieces of a byte a key is the same key.
    for byte in "\x1b[D你".encode():
        terminal.write(bytes([byte]))
    terminal.see("> 你zn")
    terminal.write(b"\r")
    assert said(terminal, tmp_path) == ["你zn"]


def test_the_history_is_searched(chat):
    terminal = chat()
    for line in (b"/system", b"/params", b"/system"):
        terminal.write(line + b"\r")
        terminal.see(lambda text: text.endswith("\n>"))
        terminal.write(b"\x0c")
        terminal.see(">")
    terminal.write(b"draft\x1b[A")
    terminal.see("> /system")
    terminal.write(b"\x1b[B")
    terminal.see("> draft")
    terminal.write(b"\x12par")
    terminal.see("(search) par: /params")
    terminal.write(b"\x7f\x7f\x7fsys\x12")
    terminal.see("(search) sys: /system")
    terminal.write(b"\x05!")
    terminal.see("> /system!")


def test_the_terminal_is_as_before_when_the_chat_ends(chat):
    for keys, ended in ((b"\x04", 0), (signal.SIGTERM, -signal.SIGTERM)):
        terminal = chat()
        if isinstance(keys, bytes):
            terminal.write(keys)
        else:
            os.kill(terminal.process, keys)
        # The mode can be read as long as this end of the terminal is open.
        wait_until(lambda: termios.tcgetattr(terminal.descriptor)[3] & termios.ICANON, "keys are still taken one by one")
        assert terminal.exit_code() == ended
