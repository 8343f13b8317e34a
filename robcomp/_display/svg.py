"""Charts as small static pictures, and where the words on them may stand without overlapping."""

from __future__ import annotations

import json
import re
from collections import Counter
from html import escape
from typing import NamedTuple
from urllib.parse import quote

VEGA_LITE = "6.4"
_NOISE = re.compile(
    r' (?:(?:aria-[\w-]+|role|class|pointer-events)="[^"]*"|(?:fill-|stroke-)?opacity="1"'
    r'|stroke-width="1"|transform="translate\(0,0\)")'
)
_PLACES = re.compile(r' (?:d|transform|x|y|x2|y2|width|height)="[^"]*"')
_DECIMAL = re.compile(r"-?\d+\.\d{2,}")
_ZERO = re.compile(r' [xy]2="0"(?=[^<>]*/>)')  # of a line, where nothing is said
_RGB = re.compile(r"rgb\((\d+), ?(\d+), ?(\d+)\)")
_NOTHING = re.compile(
    r'<g>\s*</g>|<path d="(?:M0,0h0v0h0Z)?"[^>]*/>'
    r'|<path d="[^"]*"\s*/>|<path d="[^"]*" display="none"[^>]*/>'
)


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
    """The same picture in about half the characters; `label` becomes its title and accessible name."""
    head, _, body = svg.partition(">")
    tenth = lambda hit: f"{float(hit[0]):.1f}".removesuffix(".0")
    given = dict.fromkeys(re.findall(r"\bgradient_\d+", body))  # the renderer counts on from picture to picture
    numbers = {name: f"gradient_{at}" for at, name in enumerate(given)}
    body = re.sub(r"\bgradient_\d+", lambda hit: numbers[hit[0]], body)
    body = _PLACES.sub(lambda hit: _DECIMAL.sub(tenth, hit[0]), _NOISE.sub("", body))
    body = _RGB.sub(lambda hit: "#" + "".join(f"{int(part):02x}" for part in hit.groups()), body)
    shorter = None
    while shorter != body:
        shorter, body = body, _NOTHING.sub("", body)
    body = _ZERO.sub("", without_bare_groups(body))
    body = re.sub(r'(<path (?:transform="[^"]*" )?d="[^"]*" fill="[^"]*") stroke-width="[^"]*"(?=/)', r"\1", body)
    body, common = hoisted(body, ("font-family", "font-size", "text-anchor"))
    name = escape(label)
    return f'{_NOISE.sub("", head)}{common} role="img" aria-label="{name}"><title>{name}</title>{body}'


def without_bare_groups(body: str) -> str:
    """`body` without the groups that set nothing; what stands in them stays."""
    kept, groups = [], []
    for part in re.split(r"(<g\b[^>]*>|</g>)", body):
        if part.startswith("<g"):
            groups.append(part != "<g>")
        if part == "<g>" or part == "</g>" and groups and not groups.pop():
            continue
        kept.append(part)
    return "".join(kept)


def hoisted(body: str, attributes: tuple[str, ...]) -> tuple[str, str]:
    """`body` without the commonest value of each inherited attribute, and those values for the root to hold."""
    common = ""
    for name in attributes:
        values = Counter(re.findall(rf'<text[^>]* {name}="([^"]*)"', body))
        if not values or sum(values.values()) < len(re.findall("<text", body)):
            continue
        pair = f' {name}="{values.most_common(1)[0][0]}"'
        body, common = body.replace(pair, ""), common + pair
    return body, common


def svg_size(svg: str) -> tuple[int, int]:
    """Width and height in pixels that an SVG states for itself."""
    found = [re.search(rf'<svg[^>]*\s{side}="([\d.]+)', svg) for side in ("width", "height")]
    return tuple(round(float(hit[1])) for hit in found)


def data_address(svg: str) -> str:
    """An SVG as the address of an image, in a form that stays short and readable."""
    return "data:image/svg+xml," + quote(svg.replace('"', "'"), safe=" =:;,/()'+-.?!&@*[]_~")


def figure(spec: dict) -> str:
    """HTML that shows a static picture anywhere and carries the spec for the page's script to bring alive.

    In the carried spec a dataset is a list per column, which takes half the room of a list of rows.

    The picture is an <img> with a data address: JupyterLab strips <svg> from notebooks that it does not trust.
    """
    svg = to_svg(spec)
    width, height = svg_size(svg)
    image = (
        f'<img src="{escape(data_address(svg), quote=False)}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" alt="{escape(described(spec))}">'
    )
    tables = {
        name: {column: [row[column] for row in rows] for column in rows[0]} if rows else {}
        for name, rows in spec.get("datasets", {}).items()
    }
    text = json.dumps(spec | dict(datasets=tables), separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return f'<div class="rc-chart">{image}<script type="application/json">{text}</script></div>'


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def text_width(text: str, size: float = 11) -> float:
    """Pixels that a line of text takes, on the safe side for sans-serif letters."""
    return len(text) * size * 0.56


LETTERS, GAP = 11, 8  # height of the letters of a label, and its distance from the point, in pixels


def place_labels(
    points: list[tuple[float, float]],
    texts: list[str],
    frame: tuple[float, float],
    *,
    obstacles: list[Box] = (),
    reach: list[tuple[float, float]] | None = None,
) -> list[dict | None]:
    """For each point, in order of importance, the first free place for its text, or None where there is none.

    A place is `dx`, `dy` (pixels from the point) and `align`; those beside the point are tried before those above and
    below it. A point may `reach` up and down by some pixels, as one with an interval does. An empty text takes none.
    """
    around = GAP * 0.6
    taken = [Box(x - around, y - around, x + around, y + around) for x, y in points] + list(obstacles)
    places = []
    for point, text, ends in zip(points, texts, reach or [(0, 0)] * len(points)):
        found = free_place(point, text, ends, frame, taken) if text else None
        places.append(found and found[0])
        if found:
            taken.append(found[1])
    return places


def free_place(
    point: tuple[float, float], text: str, reach: tuple[float, float], frame: tuple[float, float], taken: list[Box]
) -> tuple[dict, Box] | None:
    """The first place for a text about a point that hits nothing that is taken, and the box that it fills."""
    (x, y), (up, down), step, wide = point, reach, LETTERS + 2, text_width(text, LETTERS)
    beside = [(side, GAP, rise) for rise in (0, -step, step) for side in (1, -1)]
    rises = (-step - 3, step + 3, -2 * step, 2 * step, -up - step, down + step)
    apart = [(side, -GAP / 2, rise) for rise in rises for side in (1, -1)]
    for side, shift, rise in beside + apart:
        left = x + shift if side > 0 else x - shift - wide
        box = Box(left, y + rise - LETTERS / 2, left + wide, y + rise + LETTERS / 2)
        inside = box.left >= 0 and box.top >= 0 and box.right <= frame[0] and box.bottom <= frame[1]
        if inside and not any(box.hits(other) for other in taken):
            return dict(dx=side * shift, dy=rise, align="left" if side > 0 else "right"), box
    return None
