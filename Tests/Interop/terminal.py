"""A program on a terminal of its own, and what a person sees there."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
import unicodedata

from conftest import PATIENCE, wait_until


class Terminal:
    """A program on a terminal of its own, read up to given texts."""

    def __init__(self, *command, environment={}):
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            os.execve(command[0], [str(part) for part in command], os.environ | {"TERM": "xterm"} | environment)
        self.unread = b""
        self.has_ended = False

    def read_until(self, wanted):
        self.read_while(lambda: wanted not in self.unread, f"no {wanted}")
        found, self.unread = self.unread.split(wanted, 1)
        return found

    def wait_for_prompt(self):
        """The prompt appears a moment before the line editor takes the keys; until then they are the terminal's own."""
        self.read_until(b"> ")
        wait_until(lambda: not termios.tcgetattr(self.descriptor)[3] & termios.ICANON, "the line editor takes no keys")

    def wait_for_output(self):
        """Some of an answer: more than the line editor writes when it ends a line."""
        self.read_while(lambda: len(self.unread) < 100, "no answer")

    def read_while(self, condition, what):
        end = time.monotonic() + PATIENCE
        while condition():
            assert time.monotonic() < end, f"{what} in {self.unread}"
            if select.select([self.descriptor], [], [], 1)[0]:
                self.unread += os.read(self.descriptor, 65536)

    def write(self, text):
        os.write(self.descriptor, text)

    def exit_code(self):
        self.has_ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def columns(character):
    """Columns that a terminal gives to a character by itself."""
    if character == "\u200d" or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def is_flag_letter(character):
    return "\U0001f1e6" <= character <= "\U0001f1ff"


class Screen:
    """The part of a terminal that the chat uses: rows of cells, a cursor, and what moves it.

    `joins` terminals show a sequence of emoji as one; `reflows` ones wrap lines again when the window changes.
    """

    def __init__(self, width, height, joins=True, reflows=True):
        self.width, self.height, self.joins, self.reflows = width, height, joins, reflows
        self.rows, self.wrapped = [[] for _ in range(height)], [False] * height
        self.row = self.column = 0
        self.answers = b""

    def text(self):
        """What is seen, without blanks at the ends of rows and empty rows at the end."""
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip("\n")

    def feed(self, text):
        for sequence, final, character in re.findall(r"\x1b\[([?\d;]*)([A-Za-z])|([\s\S])", text):
            if final:
                self.obey(sequence, final)
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self.next_row()
            elif character >= " ":
                self.put(character)

    def obey(self, sequence, final):
        if final == "A":
            self.row = max(0, self.row - int(sequence or 1))
        elif final == "J":
            keep = 0 if sequence == "2" else self.row + 1
            if sequence != "2":
                del self.rows[self.row][self.column:]
            self.rows[keep:] = [[] for _ in self.rows[keep:]]
            self.wrapped[max(0, keep - 1):] = [False] * len(self.wrapped[max(0, keep - 1):])
        elif final == "H":
            self.row = self.column = 0
        elif final == "n":
            self.answers += f"\x1b[{self.row + 1};{min(self.column, self.width - 1) + 1}R".encode()
        else:
            assert final in "mhl", (sequence, final)

    def next_row(self, wrapped=False):
        self.wrapped[self.row] = wrapped
        self.row += 1
        if self.row == self.height:
            self.rows, self.wrapped = self.rows[1:] + [[]], self.wrapped[1:] + [False]
            self.row -= 1

    def put(self, character):
        row = self.rows[self.row]
        before = next((index for index in range(self.column - 1, -1, -1) if row[index:index + 1] not in ([], [""])), None)
        base = "" if before is None else row[before]
        is_flag = len(base) == 1 and is_flag_letter(base) and is_flag_letter(character)
        if columns(character) == 0 or self.joins and (base.endswith("\u200d") or is_flag):
            if before is not None:
                row[before] += character
            if self.joins and is_flag:
                row[self.column:self.column + 1] = [""]
                self.column += 1
            return
        width = columns(character)
        if self.column + width > self.width:
            self.next_row(wrapped=True)
            self.column = 0
            row = self.rows[self.row]
        row += [" "] * (self.column - len(row))
        row[self.column:self.column + width] = [character] + [""] * (width - 1)
        self.column += width

    def resize(self, width):
        if not self.reflows:
            self.rows = [row[:width] for row in self.rows]
            self.width, self.column = width, min(self.column, width - 1)
            return
        lines, at = [[]], None
        for index, row in enumerate(self.rows):
            if index == self.row:
                at = len(lines) - 1, len(lines[-1]) + self.column
            lines[-1] += row if not self.wrapped[index] else row + [" "] * (self.width - len(row))
            if not self.wrapped[index]:
                lines.append([])
        lines.pop()
        self.width, self.rows, self.wrapped = width, [], []
        for index, line in enumerate(lines):
            pieces = [line[start:start + width] for start in range(0, len(line), width)] or [[]]
            if index == at[0]:
                self.row = len(self.rows) + min(at[1] // width, len(pieces) - 1)
                self.column = at[1] - width * min(at[1] // width, len(pieces) - 1)
            self.rows += pieces
            self.wrapped += [True] * (len(pieces) - 1) + [False]
        surplus = max(0, self.row + 1 - self.height)
        self.rows = (self.rows[surplus:] + [[]] * self.height)[:self.height]
        self.rows = [list(row) for row in self.rows]
        self.wrapped = (self.wrapped[surplus:] + [False] * self.height)[:self.height]
        self.row -= surplus


class SeenTerminal(Terminal):
    """A terminal with a screen; `see` waits until that shows a text."""

    def __init__(self, *command, width=40, height=24, joins=True, reflows=True, environment={}):
        self.screen = Screen(width, height, joins, reflows)
        super().__init__(*command, environment=environment)
        self.set_size()

    def set_size(self):
        size = struct.pack("HHHH", self.screen.height, self.screen.width, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def resize(self, width):
        self.screen.resize(width)
        self.screen.width = width
        self.set_size()

    def see(self, what):
        """Waits until the screen's text is `what`, or a function of it says so."""
        is_seen = what if callable(what) else lambda text: text == what
        end = time.monotonic() + PATIENCE
        while not is_seen(self.screen.text()):
            assert time.monotonic() < end, f"{what!r} is not seen:\n{self.screen.text()}"
            if select.select([self.descriptor], [], [], 0.2)[0]:
                self.unread += os.read(self.descriptor, 65536)
                # A sequence or a character may be cut.
                text = self.unread.decode(errors="ignore")
                rest = re.search(r"\x1b(\[[?\d;]*)?$", text)
                whole = text[:rest.start()] if rest else text
                self.unread = self.unread[len(whole.encode()):]
                self.screen.feed(whole)
                if self.screen.answers:
                    self.write(self.screen.answers)
                    self.screen.answers = b""
