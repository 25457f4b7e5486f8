"""A few shapes written as SVG."""

from html import escape
from pathlib import Path

BLUE, ORANGE, GREEN, GRAY, RED = "#2563eb", "#d97706", "#15803d", "#6b7280", "#b91c1c"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#7c3aed", GRAY)


class Drawing:
    """Coordinates in pixels, from the top left."""

    def __init__(self, width, height):
        self.size = width, height
        self.parts = []

    def rectangle(self, x, y, width, height, fill="none", stroke="none", opacity=1.0, radius=0):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" fill="{fill}" '
            f'fill-opacity="{opacity:.3f}" stroke="{stroke}"/>')

    def line(self, points, stroke=GRAY, width=1.0, dash=""):
        """Straight pieces from point to point, each (x, y)."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"{dashes}/>')

    def text(self, x, y, text, size=12, anchor="start", fill="#111827", weight="normal", turn=0):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
            f'font-weight="{weight}"{turned}>{escape(text)}</text>')

    def arrow(self, points, stroke=GRAY, width=1.4):
        """A line whose last piece ends in a head."""
        self.line(points, stroke, width)
        (x0, y0), (x, y) = points[-2:]
        length = max(1e-9, ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5)
        dx, dy = (x - x0) / length, (y - y0) / length
        corners = [(x, y), (x - 7 * dx - 3.5 * dy, y - 7 * dy + 3.5 * dx), (x - 7 * dx + 3.5 * dy, y - 7 * dy - 3.5 * dx)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        self.parts.append(f'<polygon points="{path}" fill="{stroke}"/>')

    def save(self, path):
        width, height = self.size
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(self.parts) + "\n</svg>\n", encoding="utf-8")


class Axes:
    """A box of a drawing with numbers along its two sides."""

    def __init__(self, drawing, box, x_range, y_range):
        self.drawing, self.box, self.x_range, self.y_range = drawing, box, x_range, y_range

    def point(self, x, y):
        (left, top, width, height), (x0, x1), (y0, y1) = self.box, self.x_range, self.y_range
        return left + width * (x - x0) / (x1 - x0), top + height * (y1 - y) / (y1 - y0)

    def frame(self, x_ticks, y_ticks, x_label, y_label, x_format="{:g}", y_format="{:g}"):
        left, top, width, height = self.box
        for tick in y_ticks:
            _, y = self.point(self.x_range[0], tick)
            self.drawing.line([(left, y), (left + width, y)], "#e5e7eb")
            self.drawing.text(left - 6, y + 4, y_format.format(tick), 11, "end", GRAY)
        for tick in x_ticks:
            x, _ = self.point(tick, self.y_range[0])
            self.drawing.line([(x, top + height), (x, top + height + 4)])
            self.drawing.text(x, top + height + 17, x_format.format(tick), 11, "middle", GRAY)
        self.drawing.line([(left, top), (left, top + height), (left + width, top + height)])
        self.drawing.text(left + width / 2, top + height + 34, x_label, 12, "middle")
        self.drawing.text(left - 48, top + height / 2, y_label, 12, "middle", turn=-90)

    def curve(self, points, colour, width=2.0, dash=""):
        low, high = self.y_range
        self.drawing.line([self.point(x, min(max(y, low), high)) for x, y in points], colour, width, dash)
