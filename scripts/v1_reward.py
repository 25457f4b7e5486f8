#!/usr/bin/env python3
"""MiniMind's rewards of 2026 for `grpo --reward-command`, without its reward model: the length of the answer and of its thoughts,
and repetition. None of them looks at whether the answer is right; scripts/learning.sh compares them with those that do.
"""

import json
import re
import sys


def repetition(text):
    """Half of twice the share of runs of three words that are there more than once, at most a half."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    runs = [tuple(words[start:start + 3]) for start in range(len(words) - 2)]
    return min(0.5, (len(runs) - len(set(runs))) / len(runs)) if runs else 0.0


def reward(text):
    score = 0.5 if 20 <= len(text.strip()) <= 800 else -0.5
    answer = text
    if "</think>" in text:
        thought, answer = text.split("</think>", 1)
        score += 1.0 if 20 <= len(thought.strip()) <= 300 else -0.5
        score += 0.25 if text.count("</think>") == 1 else -0.25
    return score - repetition(answer)


for line in sys.stdin:
    print(reward(json.loads(line)["text"]))
