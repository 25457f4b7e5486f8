#!/usr/bin/env python3
"""The pictures of docs/tutorial, each made from what the program wrote.

    scripts/tutorial/pictures.py merges --tokenizer my-tokenizer --words " wilderness" 最高 --output merges.svg
    scripts/tutorial/pictures.py --help

Needs NumPy for `attention`, `temperature` and `muon`: .venv, which `make test` makes, has it.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

from svg import BLUE, COLOURS, GRAY, GREEN, ORANGE, RED, Axes, Drawing
from tokens import Vocabulary, read_documents


def merges(arguments):
    """How words become tokens: a tree for each, with the number of the merge that joined two pieces."""
    from tokens import readable

    vocabulary = Vocabulary(arguments.tokenizer)
    step, rise, left = 46, 46, 30
    trees = [vocabulary.merge(word) for word in arguments.words]

    def depth(node):
        return 1 + max(map(depth, node[2])) if node[2] else 0

    def leaves(node):
        return sum(map(leaves, node[2])) if node[2] else 1

    count = sum(leaves(node) for nodes in trees for node in nodes) + len(trees) - 1
    height = max(depth(node) for nodes in trees for node in nodes) * rise + 60
    drawing = Drawing(count * step + 2 * left, height)

    def draw(node, x):
        """Draws a node whose first leaf is at x; returns the node's place."""
        y = height - 30 - depth(node) * rise
        if node[2]:
            widths = [leaves(child) * step for child in node[2]]
            places = [draw(node[2][0], x), draw(node[2][1], x + widths[0])]
            centre = sum(place for place, _ in places) / 2
            for place, top in places:
                drawing.line([(centre, y + 6), (place, top - 16)], "#9ca3af")
        else:
            centre = x + step / 2
        text = readable(node[0])
        width = max(22, 9 * len(text) + 10)
        drawing.rectangle(centre - width / 2, y - 15, width, 21, "#dbeafe" if node[2] else "#f3f4f6", radius=4)
        drawing.text(centre, y, text, 13, "middle")
        if node[2]:
            drawing.rectangle(centre - 22, y - 27, 44, 10, "#ffffff")
            drawing.text(centre, y - 19, f"merge {node[1] + 1}", 9, "middle", GRAY)
        return centre, y

    x = left
    for nodes in trees:
        for node in nodes:
            draw(node, x)
            x += leaves(node) * step
        x += step
    drawing.save(arguments.output)


def packing(arguments):
    """The shortest English conversations of prepared data as one batch: tokens, targets, loss weights, who sees whom."""
    vocabulary = Vocabulary(arguments.data)
    documents = [
        document for document in read_documents(Path(arguments.data) / "train-0.tokens")
        if all(vocabulary.pieces[token].isascii() or vocabulary.pieces[token][0] in "ĠĊ" for token in document[0])]
    documents.sort(key=lambda document: len(document[0]))
    columns, offsets = [], [0]
    for ids, trained in documents[:arguments.documents]:
        for token, target, weight in zip(ids, ids[1:], trained[1:]):
            columns.append((vocabulary.text(token), vocabulary.text(target), weight))
        offsets.append(len(columns))
    cell, left, top = 17, 118, 246
    drawing = Drawing(left + cell * len(columns) + 40, top + cell * len(columns) + 30)
    for name, y in (("tokens", 90), ("targets", 174), ("loss weights", 200)):
        drawing.text(left - 8, y, name, 12, "end", weight="bold")
    for index, (token, target, weight) in enumerate(columns):
        x = left + cell * index + cell / 2
        drawing.text(x + 4, 92, token, 11, "start", turn=-60)
        drawing.text(x + 4, 176, target, 11, "start", GREEN if weight else "#9ca3af", turn=-60)
        drawing.text(x, 200, "1" if weight else "0", 11, "middle", GREEN if weight else "#9ca3af")
    drawing.text(left - 8, 222, "documentOffsets", 10, "end", weight="bold")
    for offset in offsets:
        drawing.text(left + cell * offset, 222, str(offset), 11, "middle", RED)
        drawing.line([(left + cell * offset, 228), (left + cell * offset, top + cell * len(columns))], RED, 0.8, "3 3")
    for number, (start, end) in enumerate(zip(offsets, offsets[1:])):
        for query in range(start, end):
            y = top + cell * query
            for key in range(start, query + 1):
                drawing.rectangle(left + cell * key, y, cell - 1, cell - 1, COLOURS[number % len(COLOURS)], opacity=0.55)
    side = cell * len(columns)
    for index, (token, _, _) in enumerate(columns):
        drawing.text(left - 8, top + cell * index + 13, token, 11, "end")
        drawing.line([(left, top + cell * index), (left + side, top + cell * index)], "#e5e7eb")
        drawing.line([(left + cell * index, top), (left + cell * index, top + side)], "#e5e7eb")
    drawing.save(arguments.output)


def layer(arguments):
    """One layer of a model as boxes with the shapes of its weights."""
    from layer_picture import draw_layer

    draw_layer(arguments.model).save(arguments.output)


def metrics(run):
    with open(Path(run) / "metrics.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def series(run, key):
    """(step, value) of each row that has the key."""
    return [(row["train/global_step"], row[key]) for row in metrics(run) if key in row]


def ticks(low, high, count=6):
    """Round numbers from low to high."""
    step = (high - low) / count
    size = 10 ** math.floor(math.log10(step))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= step)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def ladder(arguments):
    """A run's held-out loss in bits/byte, beside the losses that counting reaches on the same text."""
    curve = series(arguments.run, "eval/bpb")
    counts = json.loads(Path(arguments.counts).read_text()) if arguments.counts else []
    names = ["no context, counted", "bigrams, counted"]
    levels = [
        (names[row["context"]] if row["context"] < 2 else f"{row['context']} characters, counted", row["bits_per_byte"])
        for row in counts]
    drawing = Drawing(760, 400)
    high = math.ceil(max([value for _, value in curve] + [value for _, value in levels]) * 2) / 2
    low = math.floor(min([value for _, value in curve] + [value for _, value in levels]) * 2) / 2
    axes = Axes(drawing, (60, 20, 480, 320), (0, curve[-1][0]), (low, high))
    axes.frame(ticks(0, curve[-1][0]), ticks(low, high), "step", "held-out loss, bits/byte")
    for index, (name, value) in enumerate(levels):
        axes.curve([(0, value), (curve[-1][0], value)], COLOURS[1 + index % 5], 1.3, "5 4")
        x, y = axes.point(curve[-1][0], value)
        drawing.text(x + 8, y + 4, f"{value:.2f}  {name}", 11, fill=COLOURS[1 + index % 5])
    axes.curve(curve, BLUE)
    x, y = axes.point(*curve[-1])
    drawing.text(x + 8, y + 4, f"{curve[-1][1]:.2f}  the model", 11, fill=BLUE, weight="bold")
    drawing.save(arguments.output)


def overfit(arguments):
    """Training and held-out loss of a run that reads little text often."""
    training, held_out = series(arguments.run, "train/loss"), series(arguments.run, "eval/loss")
    drawing = Drawing(720, 380)
    high = math.ceil(max(value for _, value in training + held_out))
    axes = Axes(drawing, (60, 20, 520, 300), (0, training[-1][0]), (0, high))
    axes.frame(ticks(0, training[-1][0]), ticks(0, high), "step", "loss, nats/token")
    axes.curve(training, ORANGE, 1.4)
    axes.curve(held_out, BLUE, 2.4)
    best = min(held_out, key=lambda point: point[1])
    x, y = axes.point(*best)
    drawing.line([(x, y), (x, y - 40)], GREEN)
    drawing.text(x, y - 46, f"best: {best[1]:.2f} at step {best[0]}", 12, "middle", GREEN)
    for name, points, colour in (("training", training, ORANGE), ("held out", held_out, BLUE)):
        x, y = axes.point(*points[-1])
        drawing.text(x + 8, y + 4, f"{points[-1][1]:.2f} {name}", 12, fill=colour)
    drawing.save(arguments.output)


def schedule(arguments):
    """The learning rate and the gradient's norm, step by step."""
    rates, norms = series(arguments.run, "train/learning_rate"), series(arguments.run, "train/grad_norm")
    last = rates[-1][0]
    drawing = Drawing(720, 420)
    top = max(rate for _, rate in rates)
    axes = Axes(drawing, (80, 20, 610, 150), (0, last), (0, top))
    axes.frame([], ticks(0, top, 3), "", "learning rate")
    axes.curve(rates, BLUE)
    high = max(norm for _, norm in norms)
    axes = Axes(drawing, (80, 200, 610, 160), (0, last), (0, high))
    axes.frame(ticks(0, last), ticks(0, high, 4), "step", "gradient norm")
    axes.curve([(0, 1), (last, 1)], RED, 1.2, "5 4")
    axes.curve(norms, ORANGE, 1.2)
    drawing.text(*[a + b for a, b in zip(axes.point(last, 1), (-4, -5))], "clipped above 1", 11, "end", RED)
    drawing.save(arguments.output)


def encode(arguments, text):
    """<s> and the tokens of a text, by the program."""
    tokenizer = Path(arguments.model) / "model" if (Path(arguments.model) / "model").is_dir() else Path(arguments.model)
    line = subprocess.run(
        [arguments.minimind, "tokenizer", "encode", "--tokenizer", tokenizer, "--json"], input=text + "\n", text=True,
        stdout=subprocess.PIPE, check=True).stdout
    return tokenizer, [1] + json.loads(line)


def attention(arguments):
    """What the last token of each row attends to, for every head of one layer."""
    from plain_model import PlainModel

    directory, tokens = encode(arguments, arguments.text)
    vocabulary = Vocabulary(directory)
    weights = PlainModel(arguments.model).logits(tokens)[1][arguments.layer]
    heads, count = weights.shape[:2]
    cell, across = 15, 4
    panel = cell * count + 84
    drawing = Drawing(across * panel + 10, math.ceil(heads / across) * (panel + 6) + 6)
    for head in range(heads):
        left, top = head % across * panel + 74, head // across * (panel + 6) + 78
        drawing.text(left, top + cell * count + 13, f"head {head}", 11, weight="bold")
        for query in range(count):
            drawing.text(left - 4, top + cell * query + 12, vocabulary.text(tokens[query]), 10, "end")
            drawing.text(left + cell * query + 11, top - 4, vocabulary.text(tokens[query]), 10, turn=-60)
            for key in range(query + 1):
                if weights[head, query, key] >= 0.01:
                    drawing.rectangle(
                        left + cell * key, top + cell * query, cell - 1, cell - 1, BLUE,
                        opacity=float(weights[head, query, key]))
    drawing.save(arguments.output)


def temperature(arguments):
    """The probabilities of the next token at three temperatures; the default top-k keeps the darker bars."""
    import numpy as np
    from plain_model import PlainModel, softmax

    directory, tokens = encode(arguments, arguments.text)
    vocabulary = Vocabulary(directory)
    logits = PlainModel(arguments.model).logits(tokens)[0][-1].astype(np.float64)
    order = np.argsort(-logits)[:arguments.bars]
    values = [0.2, 0.7, 2.0]
    drawing = Drawing(900, 24 * arguments.bars + 80)
    for panel, value in enumerate(values):
        probabilities = softmax(logits / value)
        left = 20 + panel * 296
        drawing.text(left + 70, 24, f"temperature {value:g}", 13, weight="bold")
        for row, token in enumerate(order):
            y = 40 + 24 * row
            drawing.text(left + 62, y + 14, vocabulary.text(int(token)), 12, "end")
            width = 150 * float(probabilities[token])
            drawing.rectangle(left + 70, y + 2, max(width, 0.6), 17, BLUE, opacity=1 if row < 8 else 0.35)
            drawing.text(left + 76 + width, y + 15, f"{100 * probabilities[token]:.1f}%", 11, fill=GRAY)
        rest = 1 - sum(probabilities[token] for token in order)
        drawing.text(left + 70, 40 + 24 * len(order) + 16, f"all {len(logits) - len(order)} others: {100 * rest:.1f}%", 11, fill=GRAY)
    drawing.save(arguments.output)


def muon(arguments):
    """The singular values of a matrix's momentum, and what five steps of Newton and Schulz make of them."""
    import numpy as np
    from plain_model import read_safetensors

    moments = read_safetensors(Path(arguments.checkpoint) / "optimizer.safetensors")
    momentum = moments[arguments.key + ".first_moment"].astype(np.float64)
    before = np.linalg.svd(momentum / np.linalg.norm(momentum), compute_uv=False)
    after = before.copy()
    for _ in range(5):
        after = 3.4445 * after - 4.7750 * after ** 3 + 2.0315 * after ** 5
    drawing = Drawing(720, 380)
    axes = Axes(drawing, (60, 20, 500, 300), (0, len(before) - 1), (0, 1.4))
    axes.frame(ticks(0, len(before) - 1), ticks(0, 1.4), "direction of the matrix, the strongest first", "how far it moves")
    axes.curve(list(enumerate(before)), ORANGE)
    axes.curve(list(enumerate(after)), BLUE)
    for name, values, colour in (("the momentum, over its norm", before, ORANGE), ("Muon's step", after, BLUE)):
        x, y = axes.point(len(before) - 1, float(values[-1]))
        drawing.text(x + 8, y + 4, name.split(",")[0], 12, fill=colour)
    drawing.save(arguments.output)


def patches(arguments):
    """A picture, cut into the patches that a new tower sees, and the rows that four of them become together."""
    import base64

    data = base64.b64encode(Path(arguments.image).read_bytes()).decode()
    side, left, top = 320, 30, 44
    drawing = Drawing(760, side + 90)
    drawing.parts.append(
        f'<image x="{left}" y="{top}" width="{side}" height="{side}" href="data:image/png;base64,{data}" '
        'style="image-rendering: pixelated"/>')
    for line in range(9):
        place, strong = line * side / 8, line % 2 == 0
        colour, width = ("#111827", 1.6) if strong else ("#6b7280", 0.6)
        drawing.line([(left + place, top), (left + place, top + side)], colour, width)
        drawing.line([(left, top + place), (left + side, top + place)], colour, width)
    drawing.text(left, top - 14, "64 × 64 pixels, 64 patches of 8 × 8, in squares of four", 13)
    right, step = left + side + 110, side / 16
    drawing.text(right - 40, top - 14, "16 rows of 256 numbers, in the order of reading", 13)
    for row in range(16):
        y = top + row * step
        drawing.rectangle(right, y + 2, 210, step - 4, BLUE, opacity=0.25, radius=3)
        drawing.text(right - 8, y + step / 2 + 4, str(row + 1), 10, "end", GRAY)
    # The square of the picture that becomes the seventh row.
    square = side / 4
    x, y = left + 2 * square, top + square
    drawing.rectangle(x, y, square, square, "none", RED)
    drawing.arrow([(x + square, y + square / 2), (right - 26, top + 6.5 * step)], RED)
    drawing.text(left, top + side + 26, "tower: each patch 192 numbers, all see all", 12, fill=GRAY)
    drawing.text(right - 40, top + side + 26, "projector: 4 × 192 numbers become 256", 12, fill=GRAY)
    drawing.save(arguments.output)


PICTURES = {
    merges: ["tokenizer", "words"], packing: ["data", "documents"], layer: ["model"], ladder: ["run", "counts"],
    overfit: ["run"], schedule: ["run"], attention: ["model", "text", "layer"], temperature: ["model", "text", "bars"],
    muon: ["checkpoint", "key"], patches: ["image"]}
OPTIONS = {
    "words": {"nargs": "+"}, "documents": {"type": int, "default": 3}, "layer": {"type": int, "default": 0},
    "bars": {"type": int, "default": 12}, "counts": {"help": "what bigram.py --json printed"},
    "key": {"default": "model.layers.2.mlp.gate_proj.weight"}, "text": {"default": "The king said unto them"}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for draw, names in PICTURES.items():
        command = commands.add_parser(draw.__name__, help=draw.__doc__)
        for name in names:
            command.add_argument("--" + name, **OPTIONS.get(name, {"required": True}))
        command.add_argument("--output", required=True, help="the SVG file to write")
        command.add_argument("--minimind", default="minimind", help="the program (default: minimind)")
        command.set_defaults(draw=draw)
    arguments = parser.parse_args()
    try:
        arguments.draw(arguments)
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        sys.exit(f"pictures.py: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"pictures.py: {error}. Run it as .venv/bin/python scripts/tutorial/pictures.py (make test makes .venv).")


if __name__ == "__main__":
    main()
