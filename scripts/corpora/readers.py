"""Readers: one function a file format, each yields paragraphs of plain text. Standard library only."""

import gzip
import html.parser
import re
import struct
import xml.etree.ElementTree as ElementTree

HAN = re.compile(r"[\u4e00-\u9fff]")
# Characters that only Traditional Chinese uses: a line that holds one is not Simplified.
TRADITIONAL = re.compile(r"[們個來時說國這會後對於與學無見東馬門長為語書經樂風詩雲龍鳥魚車過還開關間聽處將從當實頭應]")


def han_share(text):
    """The share of Chinese characters among the characters that are not spaces."""
    visible = sum(not character.isspace() for character in text)
    return len(HAN.findall(text)) / visible if visible else 0.0


def joined(text):
    """One paragraph on one line: a line break between Chinese characters vanishes, any other is a space."""
    text = text.replace("\u00a0", " ").replace("\u200b", "").replace("\u3000", " ")
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]) (?=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])", "", text)


def read_text(path):
    """The text of a file, unpacked when its name ends in .gz; bytes that are not UTF-8 become U+FFFD."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rb") as file:
        return file.read().decode("utf-8", errors="replace")


class _ParagraphParser(html.parser.HTMLParser):
    """Collects the text of headings, paragraphs and list items; code listings, menus and tables are left out."""

    BLOCKS = {"p", "div", "li", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "section", "body"}
    SKIPPED = {"script", "style", "head", "pre", "table", "nav"}
    SKIPPED_CLASSES = {"docnav", "navheader", "navfooter", "toc", "banner", "footnotes", "index", "titlepage-menu"}
    VOID = {"br", "img", "hr", "link", "meta", "input", "col"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.paragraphs, self.parts, self.open_tags, self.skip_depth = [], [], [], 0

    def flush(self):
        text = joined("".join(self.parts))
        self.parts = []
        if text:
            self.paragraphs.append(text)

    def handle_starttag(self, tag, attributes):
        if tag in self.BLOCKS:
            self.flush()
        if tag in self.VOID:
            self.parts.append(" ")
            return
        attributes = dict(attributes)
        names = set((attributes.get("class") or "").split()) | {attributes.get("id") or ""}
        skipped = tag in self.SKIPPED or bool(names & self.SKIPPED_CLASSES)
        self.open_tags.append((tag, skipped))
        self.skip_depth += skipped

    def handle_startendtag(self, tag, attributes):
        self.parts.append(" " if tag == "br" else "")

    def handle_endtag(self, tag):
        if tag in self.BLOCKS:
            self.flush()
        if not any(open_tag == tag for open_tag, _ in self.open_tags):
            return
        while self.open_tags:
            open_tag, skipped = self.open_tags.pop()
            self.skip_depth -= skipped
            if open_tag == tag:
                return

    def handle_data(self, data):
        if self.skip_depth == 0:
            self.parts.append(data)


def html_paragraphs(path):
    """The paragraphs of an HTML page, in order."""
    parser = _ParagraphParser()
    parser.feed(read_text(path))
    parser.flush()
    return parser.paragraphs


def mallard_paragraphs(path):
    """The titles and paragraphs of a GNOME help page (.page, Mallard XML)."""
    namespace = "{http://projectmallard.org/1.0/}"
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError:
        return []
    blocks = (element for element in root.iter() if element.tag in (namespace + "title", namespace + "p"))
    return [text for text in (joined("".join(block.itertext())) for block in blocks) if text]


def roff_paragraphs(path):
    """The prose of a manual page: requests and font changes are removed, indented examples dropped."""
    paragraphs, lines, in_example = [], [], False

    def flush():
        text = joined(" ".join(lines))
        lines.clear()
        if text:
            paragraphs.append(text)

    for line in read_text(path).splitlines():
        request = re.match(r"[.'] *(\w+|\\\")?", line)
        if request:
            name = request.group(1) or ""
            if name in ("nf", "EX"):
                in_example = True
            elif name in ("fi", "EE"):
                in_example = False
            elif name in ("B", "I", "BR", "BI", "IB", "IR", "RB", "RI", "SB", "SM"):
                words = re.sub(r'"', "", line[request.end():].strip())
                lines.append(words.replace(" ", "") if len(name) == 2 and name not in ("SB", "SM") else words)
                continue
            flush()
            continue
        if in_example:
            continue
        if not line.strip():
            flush()
            continue
        lines.append(line)
    flush()
    return [_without_roff_escapes(paragraph) for paragraph in paragraphs]


def _without_roff_escapes(text):
    text = re.sub(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d", "", text)
    text = re.sub(r"\\\*?\((aq|cq|oq|lq|rq|dq|em|en|co|bu|..)", lambda match: {"aq": "'", "em": "—", "en": "–"}.get(match.group(1), '"'), text)
    text = text.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "").replace("\\ ", " ").replace("\\|", "")
    return joined(re.sub(r"\\[\"#].*", "", text))


def mo_catalog(path):
    """The translations of a gettext .mo file: a dictionary from original to translation."""
    data = open(path, "rb").read()
    magic, _, count, originals, translations = struct.unpack_from("<5I", data)
    if magic != 0x950412DE:
        raise ValueError(f"{path}: not a little-endian .mo file")

    def string(table, index):
        length, offset = struct.unpack_from("<2I", data, table + 8 * index)
        return data[offset:offset + length].decode("utf-8", errors="replace").split("\0")[0].split("\x04")[-1]

    return {string(originals, index): string(translations, index) for index in range(count)}


def fortunes(path):
    """The entries of a fortune file, colour codes removed, lines kept."""
    text = re.sub(r"\x1b\[[\d;]*m", "", read_text(path))
    return [entry.strip("\n") for entry in re.split(r"\n%\n?", text) if entry.strip()]


def chatterbot_conversations(path):
    """The conversations of a chatterbot corpus: `- - first`, then `  - next`; a deeper line continues the last."""
    conversations = []
    for line in read_text(path).splitlines():
        match = re.match(r"(- - |  - )(.*)", line)
        if match:
            if match.group(1) == "- - ":
                conversations.append([])
            if conversations:
                conversations[-1].append(match.group(2).strip())
        elif line.startswith("    ") and conversations and conversations[-1]:
            conversations[-1][-1] += " " + line.strip()
    return [[_unquoted(turn) for turn in turns] for turns in conversations]


def _unquoted(scalar):
    if len(scalar) >= 2 and scalar[0] == scalar[-1] == "'":
        return scalar[1:-1].replace("''", "'")
    if len(scalar) >= 2 and scalar[0] == scalar[-1] == '"':
        return scalar[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return scalar
