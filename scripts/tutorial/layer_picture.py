"""A layer of the model as a drawing: every weight with its shape and how many numbers it is."""

import json

from plain_model import model_directory
from svg import BLUE, GRAY, GREEN, ORANGE, Drawing


def draw_layer(model):
    settings = json.loads((model_directory(model) / "config.json").read_text())
    hidden, layers, vocabulary = settings["hidden_size"], settings["num_hidden_layers"], settings["vocab_size"]
    size = settings.get("head_dim", hidden // settings["num_attention_heads"])
    queries, keys = settings["num_attention_heads"] * size, settings["num_key_value_heads"] * size
    width = settings["intermediate_size"]
    total = vocabulary * hidden + hidden + layers * (2 * hidden + 2 * hidden * (queries + keys) + 3 * hidden * width)
    drawing = Drawing(880, 800)

    def box(x, y, name, shape, what, colour, box_width=150):
        """A weight: its name, its shape, and the share of all numbers that all layers' of its kind are."""
        drawing.rectangle(x, y, box_width, 46, colour, colour, 0.14, 6)
        drawing.text(x + box_width / 2, y + 19, name, 13, "middle", weight="bold")
        drawing.text(x + box_width / 2, y + 36, f"{shape} {what}".strip(), 11, "middle", GRAY)

    def share(count):
        return f"{100 * count / total:.1f}%"

    def plus(y):
        drawing.rectangle(90, y - 11, 22, 22, "#ffffff", "#111827", radius=11)
        drawing.text(101, y + 5, "+", 16, "middle")

    stream = 101
    box(26, 20, "embedding E", f"[{vocabulary}, {hidden}]", share(vocabulary * hidden), BLUE, 190)
    drawing.text(232, 40, "a token picks its row: the residual stream x, [tokens, " + f"{hidden}]", 12)
    drawing.text(232, 57, "the same matrix makes the logits at the end (tied)", 12, fill=GRAY)
    drawing.arrow([(stream, 66), (stream, 352)])
    drawing.rectangle(10, 88, 860, 580, "none", "#9ca3af", radius=10)
    drawing.text(858, 108, f"a layer, × {layers}", 13, "end", weight="bold")

    # Attention
    drawing.arrow([(stream, 120), (220, 120)])
    box(222, 97, "norm", f"[{hidden}]", "", GRAY, 100)
    columns = [("Wq: what I look for", queries), ("Wk: what I am found by", keys), ("Wv: what I hand over", keys)]
    for index, (name, rows) in enumerate(columns):
        x = 222 + 205 * index
        drawing.arrow([(272, 143), (272, 158), (x + 95, 158), (x + 95, 174)])
        box(x, 176, name, f"[{rows}, {hidden}]", share(layers * rows * hidden), ORANGE, 190)
    for index, name in ((0, "queries, turned by position"), (1, "keys, turned by position"), (2, "values")):
        x = 222 + 205 * index
        drawing.arrow([(x + 95, 222), (x + 95, 258)])
        drawing.text(x + 101, 244, name, 11, fill=GRAY)
    drawing.rectangle(222, 260, 600, 38, "#f3f4f6", "#9ca3af", radius=6)
    drawing.text(
        522, 284, f"attention: {settings['num_attention_heads']} heads of {size}; "
        f"{settings['num_attention_heads'] // settings['num_key_value_heads']} query heads share a key and a value; no weights",
        12, "middle")
    drawing.arrow([(317, 298), (317, 330)])
    box(222, 332, "Wo", f"[{hidden}, {queries}]", share(layers * hidden * queries), ORANGE, 190)
    drawing.arrow([(222, 363), (114, 363)])
    plus(363)
    drawing.arrow([(stream, 374), (stream, 628)])

    # Feed-forward
    drawing.arrow([(stream, 416), (220, 416)])
    box(222, 393, "norm", f"[{hidden}]", "", GRAY, 100)
    for index, (name, rows) in enumerate([("W₁: gate", width), ("W₃: up", width)]):
        x = 222 + 205 * index
        drawing.arrow([(272, 439), (272, 454), (x + 95, 454), (x + 95, 470)])
        box(x, 472, name, f"[{rows}, {hidden}]", share(layers * rows * hidden), GREEN, 190)
        drawing.arrow([(x + 95, 518), (x + 95, 548)])
    drawing.rectangle(222, 550, 395, 38, "#f3f4f6", "#9ca3af", radius=6)
    drawing.text(419, 574, f"silu(gate) · up, {width} numbers a token; no weights", 12, "middle")
    drawing.arrow([(317, 588), (317, 606)])
    box(222, 608, "W₂: down", f"[{hidden}, {width}]", share(layers * hidden * width), GREEN, 190)
    drawing.arrow([(222, 639), (114, 639)])
    plus(639)
    drawing.text(640, 560, "each token by itself:", 12, fill=GRAY)
    drawing.text(640, 577, "half of all weights", 12, fill=GREEN)
    drawing.text(640, 340, "tokens look at each other", 12, fill=ORANGE)

    drawing.arrow([(stream, 650), (stream, 690)])
    box(26, 692, "norm", f"[{hidden}]", "", GRAY, 150)
    drawing.arrow([(176, 715), (222, 715)])
    box(224, 692, "Eᵀ", f"[{hidden}, {vocabulary}]", "tied", BLUE, 150)
    drawing.arrow([(374, 715), (420, 715)])
    drawing.text(426, 719, f"logits, [tokens, {vocabulary}]: a number for each token that could come next", 12)
    drawing.text(26, 780, f"{total} numbers in all; percentages are shares of them, all layers together", 12, fill=GRAY)
    return drawing
