"""Pairs of answers for preference training: made from the questions, and LLaMA-Factory's examples."""

import hashlib
import json

from .readers import read_text


def pairs_from_questions(conversations):
    """Each question of a single turn with its answer, and as the rejected one the answer to another question.

    The other question is the next in the order of hashes: the same on every machine, and of any source.
    """
    single = [row["messages"] for row in conversations if len(row["messages"]) == 2]
    single.sort(key=lambda messages: hashlib.sha256(messages[0]["content"].encode()).digest())
    for messages, others in zip(single, single[1:] + single[:1]):
        if messages[1] != others[1]:
            yield {"prompt": messages[:1], "chosen": messages[1:], "rejected": others[1:]}


def llamafactory_pairs(folder):
    """300 Chinese and 300 English pairs, most of them long."""
    roles = {"human": "user", "gpt": "assistant", "system": "system"}

    def message(turn):
        return {"role": roles[turn["from"]], "content": turn["value"]}

    for language in ("zh", "en"):
        (path,) = folder.glob(f"llamafactory-*/data/dpo_{language}_demo.json")
        for row in json.loads(read_text(path)):
            yield {
                "prompt": [message(turn) for turn in row["conversations"]], "chosen": [message(row["chosen"])],
                "rejected": [message(row["rejected"])]}


#: name, package, licence, reader. The package does not say where the texts come from.
PREFERENCE_SOURCES = [
    ("LLaMA-Factory's preference examples", "llamafactory==0.9.5", "Apache-2.0, origin not stated", llamafactory_pairs),
]
