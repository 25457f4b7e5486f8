"""Questions and answers for fine-tuning: MiniMind's identity and simple facts, small talk, translations, definitions."""

import json
import re
from pathlib import Path

from .readers import HAN, chatterbot_conversations, read_text
from .sources import hsk_rows

#: Written for this project: who MiniMind is, and simple facts in English and Chinese.
OWN_ROWS = [Path(__file__).with_name(name) for name in ("identity.jsonl", "basics.jsonl")]

#: Topics left out: a persona of its own, opinions, the same row many times. Of the Chinese half, most of it a machine's
#: translation that reads badly, only these are taken.
ENGLISH_SKIPPED_TOPICS = {"botprofile", "politics", "psychology", "gossip", "humor", "movies", "emotion", "coding", "tech_support", "health"}
CHINESE_TOPICS = {"greetings", "conversations", "trivia"}
#: Questions about the speaker; the identity rows answer those.
ABOUT_THE_SPEAKER = re.compile(r"your name|who are you|what are you|made you|created you|你是谁|你叫|你的名字|谁创造|你是什么|那是我的名字", re.I)

ENGLISH_NAMES = "Anna Ben Carol David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nick Olivia Paul Rose Sam Tom Wendy".split()
CHINESE_NAMES = "小明 小红 小华 小丽 李雷 韩梅 王芳 张伟 刘洋 陈静 杨帆 赵敏 周杰 吴婷 徐亮 孙悦 马超 朱琳 胡军 林雨".split()


def conversation(*turns):
    """A row of the `messages` format; the turns alternate, the user first."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns)]}


def own_questions():
    """Who MiniMind is, simple facts, and greetings that repeat the user's name."""
    for path in OWN_ROWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield conversation(row["q"], row["a"])
    for name in ENGLISH_NAMES:
        yield conversation(f"Hello, my name is {name}.", f"Hello, {name}! I am MiniMind. Nice to meet you.")
        yield conversation(f"Hi, I'm {name}.", f"Hello, {name}! I am MiniMind. Nice to meet you.")
    for name in CHINESE_NAMES:
        yield conversation(f"你好，我叫{name}。", f"你好，{name}！我是 MiniMind，很高兴认识你。")
        yield conversation(f"你好，我是{name}。", f"你好，{name}！我是 MiniMind，很高兴认识你。")


def small_talk(folder):
    """The chatterbot corpus (BSD): the first answer to each question, so that there is one thing to learn."""
    seen = set()
    for path in sorted(folder.glob("chatterbot_corpus/data/*/*.yml")):
        language = path.parent.name
        if not (language == "english" and path.stem not in ENGLISH_SKIPPED_TOPICS or language == "chinese" and path.stem in CHINESE_TOPICS):
            continue
        for turns in chatterbot_conversations(path):
            turns = turns[:len(turns) // 2 * 2]
            key = re.sub(r"\W+", "", turns[0].lower()) if turns else ""
            if not key or key in seen or any(ABOUT_THE_SPEAKER.search(turn) for turn in turns):
                continue
            if not all(turns) or max(map(len, turns)) > 240:
                continue
            seen.add(key)
            yield conversation(*turns)


def translations(folder, levels):
    """HSK sentences (CC-BY-SA-4.0) of the given levels, translated in both directions."""
    for row in hsk_rows(folder):
        if row["level"] in levels and HAN.search(row["chinese"]):
            yield conversation(f"翻译成英文：{row['chinese']}", row["english"])
            yield conversation(f"Translate into Chinese: {row['english']}", row["chinese"])


def definitions(folder, count):
    """WordNet's first definition of common single words (the lower the sense's offset, the more general)."""
    seen = set()
    for part in ("noun", "verb"):
        taken = 0
        for line in read_text(folder / "usr/share/wordnet" / f"data.{part}").splitlines():
            fields = line.split(" ")
            if line.startswith("  ") or " | " not in line or taken == count // 2:
                continue
            word, gloss = fields[4], line.split(" | ", 1)[1].split(";")[0].strip()
            if re.fullmatch(r"[a-z]{3,}", word) and word not in seen and 15 <= len(gloss) <= 120 and '"' not in gloss:
                seen.add(word)
                taken += 1
                yield conversation(f"What does “{word}” mean?", gloss[0].upper() + gloss[1:] + ".")


#: name, package, licence, and for each set the rows that it takes.
QUESTION_SOURCES = [
    ("Own: identity, greetings, simple facts", None, "part of this project", {
        "demo": lambda folder: own_questions(), "large": lambda folder: own_questions()}),
    ("Chatterbot corpus", "chatterbot-corpus==1.3.3", "BSD", {"demo": small_talk, "large": small_talk}),
    ("HSK translations", "hsk-sentences-audio==1.0.0", "CC-BY-SA-4.0", {
        "demo": lambda folder: translations(folder, {1}), "large": lambda folder: translations(folder, {1, 2, 3, 4, 5, 6})}),
    ("WordNet definitions", "wordnet-base", "WordNet 3.0", {"large": lambda folder: definitions(folder, 4000)}),
]
