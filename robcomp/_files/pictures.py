"""Any picture file as a small square of RGB bytes."""
from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from robcomp._text.errors import first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


def read_picture(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8: turned upright, transparency laid on white, scaled by the short side, centre kept."""
    from PIL import Image, ImageOps
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                square = ImageOps.fit(_rgb(ImageOps.exif_transpose(image)), (size, size), Image.Resampling.BICUBIC)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(f"image {str(path)!r} is too large: at most {Image.MAX_IMAGE_PIXELS:,} pixels, "
                         "scale it down or take it out") from None
    except Exception as error:  # decoders raise nearly every kind of error on damaged bytes
        raise ValueError(f"unreadable image {str(path)!r} ({first_line(error)}): mend it or take it out") from None
    return np.asarray(square)


def common_side(folder: Path) -> int:
    """The commonest length of the shorter side of the pictures under a folder, from 8 to 224; their headers alone are read."""
    from PIL import Image
    sides = Counter()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES: continue
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as image: sides[min(max(min(image.size), 8), 224)] += 1
        except Exception: continue  # whoever reads the whole picture says what is wrong with it
    return max(sides, key=lambda side: (sides[side], side), default=32)


def _rgb(image):
    from PIL import Image
    if image.mode == "F": raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64) // 257, 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
