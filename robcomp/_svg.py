"""Charts as small static pictures, and where the words on them may stand without overlapping."""
from __future__ import annotations

import base64
import json
import re
from html import escape
from typing import NamedTuple

VEGA_LITE = "6.4"
_NOISE = re.compile(r' (?:aria-[\w-]+|role|class)="[^"]*"')
_DECIMAL = re.compile(r"(?<![\w#])-?\d+\.\d{2,}")


def to_svg(spec: dict) -> str:
    """The Vega-Lite `spec` as SVG text: labelled as one image, without per-mark labels, one decimal."""
    import vl_convert
    return compact(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE), described(spec))


def described(spec: dict) -> str:
    """What a chart shows, in words: its description, else its title."""
    title = spec.get("title", "")
    text = spec.get("description") or (title.get("text", "") if isinstance(title, dict) else title)
    return text if isinstance(text, str) else " ".join(text)


def compact(svg: str, label: str) -> str:
    """The same picture in fewer characters; `label` becomes the title and the accessible name of the whole."""
    head, _, body = svg.partition(">")
    body = _DECIMAL.sub(lambda hit: f"{float(hit[0]):.1f}".removesuffix(".0"), _NOISE.sub("", body))
    body = re.sub(r"<g(?: transform=\"translate\(0,0\)\")?></g>|<path d=\"\"[^>]*/>", "", body)
    body = re.sub(r"<path d=\"[^\"]*\" display=\"none\"[^>]*/>", "", body)
    head = _NOISE.sub("", head)
    return f'{head} role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>{body}'


def svg_size(svg: str) -> tuple[int, int]:
    """Width and height in pixels that an SVG states for itself."""
    found = [re.search(rf'<svg[^>]*\s{side}="([\d.]+)', svg) for side in ("width", "height")]
    return tuple(round(float(hit[1])) for hit in found)


def figure(spec: dict) -> str:
    """HTML that shows a static picture anywhere and carries the spec for the page's script to bring alive.

    The picture is an <img> with a data address: JupyterLab strips <svg> from notebooks that it does not trust.
    """
    svg = to_svg(spec)
    width, height = svg_size(svg)
    image = (f'<img src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" width="{width}" '
             f'height="{height}" style="max-width:100%;height:auto" alt="{escape(described(spec))}">')
    text = json.dumps(spec, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return f'<div class="rc-chart">{image}<script type="application/json">{text}</script></div>'


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""
    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: Box) -> bool:
        return (self.left < other.right and other.left < self.right
                and self.top < other.bottom and other.top < self.bottom)


def text_width(text: str, size: float = 11) -> float:
    """Pixels that a line of text takes, on the safe side for sans-serif letters."""
    return len(text) * size * 0.56


def place_labels(points: list[tuple[float, float]], texts: list[str], frame: tuple[float, float], *,
                 obstacles: list[Box] = (), size: float = 11, gap: float = 8) -> list[dict | None]:
    """For each point, in order of importance, the first free place for its text, or None where there is none.

    A place is `dx`, `dy` (pixels from the point) and `align`; eight places are tried, those beside the point first.
    """
    taken = [Box(x - gap * .6, y - gap * .6, x + gap * .6, y + gap * .6) for x, y in points] + list(obstacles)
    places, step = [], size + 2
    tried = [(side, rise) for rise in (0, -step, step) for side in (1, -1)] + [(0, -step - 3), (0, step + 3)]
    for (x, y), text in zip(points, texts):
        wide, found = text_width(text, size), None
        for side, rise in tried:
            left = x + gap if side > 0 else x - gap - wide if side < 0 else x - wide / 2
            box = Box(left, y + rise - size / 2, left + wide, y + rise + size / 2)
            inside = box.left >= 0 and box.top >= 0 and box.right <= frame[0] and box.bottom <= frame[1]
            if inside and not any(box.hits(other) for other in taken):
                found = dict(dx=side * gap, dy=rise, align={1: "left", -1: "right", 0: "center"}[side])
                taken.append(box)
                break
        places.append(found)
    return places
