#!/usr/bin/env python3
"""The smallest language model: counts of which character follows which. docs/tutorial/01-counting.md explains it.

    scripts/tutorial/bigram.py --train demo/text/train.jsonl --heldout demo/text/heldout.jsonl --prompt "The king"

Prints the loss on text that was not counted, for longer and longer contexts (0: characters alone; 1: bigrams; …), and
what each of these models writes. Standard library only.
"""

import argparse
import json
import math
import random
import sys
from collections import Counter, defaultdict

START, END = "\x02", "\x03"  # before and after each document
CODE_POINTS = 0x110000  # all characters that Unicode can have


class CountModel:
    """P(character | the `context` characters before it), by counting."""

    def __init__(self, documents, context):
        self.context = context
        # followers[n]["th"]["e"]: how often "e" came after "th", for contexts of n characters.
        self.followers = [defaultdict(Counter) for _ in range(context + 1)]
        for document in documents:
            text = START * context + document + END
            for place in range(context, len(text)):
                for length, followers in enumerate(self.followers):
                    followers[text[place - length:place]][text[place]] += 1

    def probability(self, before, character):
        """Its share of what followed `before`. As many more times as there are different followers, something else may
        follow, and what that is, the next shorter context says; the last of all says that any character may."""
        probability = 1 / CODE_POINTS
        for length, followers in enumerate(self.followers):
            counts = followers.get(before[len(before) - length:])
            if counts:
                kinds = len(counts)
                probability = (counts[character] + kinds * probability) / (counts.total() + kinds)
        return probability

    def loss(self, document):
        """-Σ log P over the characters of a document and its end, in nats."""
        text = START * self.context + document + END
        places = range(self.context, len(text))
        return -sum(math.log(self.probability(text[place - self.context:place], text[place])) for place in places)

    def write(self, prompt, count, generator):
        """Appends characters to `prompt`, each drawn in proportion to how often it followed the ones before it."""
        text = START * self.context + prompt
        for _ in range(count):
            length = self.context
            while not self.followers[length].get(text[len(text) - length:]):
                length -= 1
            counts = self.followers[length][text[len(text) - length:]]
            character = generator.choices(list(counts), list(counts.values()))[0]
            if character == END:
                break
            text += character
        return text[self.context:]


def read_documents(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="JSON Lines with a text key: counted")
    parser.add_argument("--heldout", required=True, help="the same: measured on")
    parser.add_argument("--contexts", type=int, default=4, help="the longest context to try (default: 4)")
    parser.add_argument("--prompt", default="The king", help="text to continue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object, without what the models write")
    arguments = parser.parse_args()
    try:
        training, heldout = read_documents(arguments.train), read_documents(arguments.heldout)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"bigram.py: {error}")
    characters = sum(len(document) + 1 for document in heldout)
    size = sum(len(document.encode()) for document in heldout)
    if not training or not size:
        sys.exit("bigram.py: both files must hold text.")
    results = []
    for context in range(arguments.contexts + 1):
        model = CountModel(training, context)
        loss = sum(map(model.loss, heldout))
        results.append({
            "context": context, "nats_per_character": loss / characters, "bits_per_byte": loss / math.log(2) / size,
            "numbers": sum(map(len, model.followers[context].values()))})
        if not arguments.json:
            sample = model.write(arguments.prompt, 80, random.Random(arguments.seed))
            print("context {context}: {nats_per_character:.3f} nats/character, {bits_per_byte:.3f} bits/byte, "
                  "{numbers} counts".format(**results[-1]))
            print("  " + " ".join(sample.split()))
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
