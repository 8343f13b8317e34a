"""Pictures for the page about corruptions: a scene of our own, a labelled sheet of all conditions, a slider."""

from __future__ import annotations

import io
from base64 import b64encode

import numpy as np

from robcomp.corruptions import corrupt
from robcomp.schema import CORRUPTIONS, EXTRA, SEVERITIES


def scene(size: int = 32) -> np.ndarray:
    """A house by a tree under the sun, (size, size, 3) uint8, drawn eight times as large and averaged."""
    y, x = (np.mgrid[: 8 * size, : 8 * size] + 0.5) / (8 * size)
    picture = np.array([0.35, 0.6, 0.95]) + y[..., None] * np.array([0.6, 0.35, 0.05])
    grass = y > 0.68 + 0.04 * np.sin(5 * x + 1)
    blades = 0.5 + 0.5 * np.sin(70 * x + 9 * np.sin(11 * y)) * np.sin(60 * y)
    roof = (y > 0.26) & (y < 0.44) & (abs(x - 0.36) < 1.35 * (y - 0.24))
    crown = (
        sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.006) for a, b in ((0.78, 0.38), (0.86, 0.46), (0.71, 0.48)))
        > 0.55
    )
    shapes = (
        ((x - 0.83) ** 2 + (y - 0.15) ** 2 < 0.008, [1, 0.9, 0.35]),
        ((y > 0.5 - 0.35 * abs(np.sin(4.2 * x + 0.4))) & ~grass, [0.5, 0.55, 0.7]),
        (grass, np.array([0.2, 0.5, 0.15]) + blades[..., None] * np.array([0.1, 0.2, 0.05])),
        ((abs(x - 0.785) < 0.025) & (y > 0.5) & (y < 0.78), [0.4, 0.25, 0.12]),
        (crown, [0.1, 0.38, 0.16]),
        ((abs(x - 0.36) < 0.2) & (y > 0.42) & (y < 0.8), [0.93, 0.88, 0.78]),
        (roof, [0.75, 0.2, 0.15]),
        ((abs(x - 0.27) < 0.05) & (abs(y - 0.56) < 0.055), [0.2, 0.3, 0.45]),
        ((abs(x - 0.44) < 0.05) & (y > 0.6) & (y < 0.8), [0.45, 0.25, 0.15]),
    )
    for inside, colour in shapes:
        picture = np.where(inside[..., None], colour, picture)
    return np.rint(picture.reshape(size, 8, size, 8, 3).mean((1, 3)).clip(0, 1) * 255).astype(np.uint8)


def conditions_of(image: np.ndarray) -> np.ndarray:
    """(19, 5, size, size, 3): one image under every corruption at every severity."""
    return np.stack(
        [np.concatenate([corrupt(image[None], name, severity) for severity in SEVERITIES]) for name in CORRUPTIONS]
    )


def _png(pixels: np.ndarray) -> bytes:
    """A PNG of 255 colours: noise in true colour would weigh three times as much."""
    from PIL import Image

    file = io.BytesIO()
    few = Image.fromarray(pixels).quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, "png", optimize=True)
    return file.getvalue()


def sheet(grid: np.ndarray, clean: np.ndarray, *, scale: int = 2) -> bytes:
    """A PNG of all conditions in two columns of corruptions, severity from left to right, names beside them."""
    from PIL import Image, ImageDraw, ImageFont

    side, name_width, gap = clean.shape[0] * scale, 128, 4
    cell = side + gap
    height, width = 10 * cell + 20, name_width + 5 * cell + 16
    page = Image.new("RGB", (2 * width, height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for k, name in enumerate(("clean", *CORRUPTIONS)):
        left, top = k // 10 * width, k % 10 * cell + 20
        words = name.replace("_", " ") + (" *" if name in EXTRA else "")
        pen.text((left + 6, top + side / 2), words, "black", font, anchor="lm")
        for j, image in enumerate(grid[k - 1] if k else [clean]):
            tile = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
            page.paste(tile, (left + name_width + j * cell, top))
    for column in range(2):
        for j in SEVERITIES:
            across = column * width + name_width + (j - 0.5) * cell
            pen.text((across, 10), str(j), "black", font, anchor="mm")
    return _png(np.asarray(page))


def slider(grid: np.ndarray) -> str:
    """HTML: every corruption at the severity of a slider; one picture, moved about by style alone, no network."""
    kinds, levels, side = grid.shape[:3]
    sprite = grid.transpose(0, 2, 1, 3, 4).reshape(kinds * side, levels * side, 3)
    words = [name.replace("_", " ") for name in CORRUPTIONS]
    tiles = "".join(
        f'<figure><i role="img" aria-label="{name} at the chosen severity" style="--k:{k}"></i>'
        f"<figcaption>{name}</figcaption></figure>"
        for k, name in enumerate(words)
    )
    return _SLIDER.format(tiles=tiles, data=b64encode(_png(sprite)).decode(), width=80 * levels, height=80 * kinds)


_SLIDER = """<div class="rc-severity" style="--s:3">
<style>
.rc-severity .tiles {{display:grid;grid-template-columns:repeat(auto-fill,minmax(88px,1fr));gap:8px}}
.rc-severity figure {{margin:0;text-align:center}} .rc-severity figcaption {{font-size:11px;line-height:1.2}}
.rc-severity i {{display:inline-block;width:80px;height:80px;image-rendering:pixelated;background:var(--sprite);
  background-size:{width}px {height}px;background-position:calc((1 - var(--s))*80px) calc(var(--k)*-80px)}}
</style>
<label>severity <input type="range" min="1" max="5" value="3" list="rc-severities" aria-label="severity"
  oninput="const box=this.closest('.rc-severity');box.style.setProperty('--s',this.value);\
box.querySelector('output').value=this.value">
  <output>3</output></label>
<div class="tiles" style="--sprite:url(data:image/png;base64,{data})">{tiles}</div></div>"""
