"""Pictures for the frost corruption: our own texture, the official ones out of an installed package, or a folder's.

The official five photographs are not ours to copy. `pictures("own")` draws four textures of our own from a few numbers
measured on them (at a fifth of their size, as the benchmark uses them): nine quantiles of the luminance, the power
spectrum in six octaves, and each colour channel as a straight line of the luminance. A random field with that spectrum
is bent to those quantiles. On CIFAR-10 the mean and the deviation of the change agree with those of the official
pictures within 1 %, differences between neighbouring pixels are 12 % larger; needles and ferns are missing, as phases
are random. Results with it are "frost (own)", not the official distribution.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from robcomp._corruptions.draws import normals
from robcomp._text.errors import first_line

OFFICIAL = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # randint(5): frost6 is never drawn
SUFFIXES = ".png", ".jpg", ".jpeg", ".bmp", ".webp"
MOST = 100  # pictures in a folder

_AT = (-3.0902, -2.3263, -1.6449, -0.6745, 0, 0.6745, 1.6449, 2.3263, 3.0902)  # normal quantiles, .1 to 99.9 %
_OCTAVES = (0.25, 0.5, 1, 2, 4, 8, 16)  # periods in 32 pixels
_MEASURED = (  # luminance at those quantiles, log10 power in those octaves, (slope, offset) of red, green, blue
    (
        (92, 97, 104, 118, 129, 142, 163, 177, 194),
        (5.80, 4.90, 4.01, 3.04, 2.45, 2.05, 1.96),
        ((1.37, -101), (0.90, 31), (0.73, 70)),
    ),
    (
        (103, 143, 166, 195, 210, 223, 236, 245, 250),
        (5.40, 4.84, 3.73, 3.16, 2.78, 2.54, 2.38),
        ((0.97, 0), (1, -3), (1.02, 3)),
    ),
    (
        (53, 80, 105, 135, 152, 169, 199, 239, 252),
        (5.70, 4.62, 3.70, 3.18, 2.97, 2.90, 2.80),
        ((0.99, -12), (0.99, 3), (1.03, 9)),
    ),
    (
        (36, 46, 60, 91, 120, 151, 203, 238, 253),
        (5.40, 4.69, 4.00, 3.71, 3.39, 3.00, 2.83),
        ((1.03, -15), (1, -1), (0.97, 15)),
    ),
)


def _texture(number: int, size: int) -> np.ndarray:
    """One of our four textures, (4 * size, 6 * size, 3) uint8, periodic."""
    quantiles, powers, colours = _MEASURED[number]
    rows, columns = 4 * size, 6 * size
    white = normals(0, "frost", 0, np.array([number]), rows * columns).reshape(rows, columns)
    period = np.hypot(np.fft.fftfreq(rows)[:, None] * size, np.fft.rfftfreq(columns) * size)
    power = 10 ** np.interp(np.log2(np.maximum(period, _OCTAVES[0])), np.log2(_OCTAVES), powers)
    power *= np.minimum(1, _OCTAVES[-1] / np.maximum(period, 1)) ** 4  # nothing finer than 32 pixels can show
    power[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power), s=white.shape)
    light = np.interp(field / field.std(), _AT, quantiles)
    channels = [np.rint(slope * light + offset) for slope, offset in colours]
    return np.stack(channels, -1).clip(0, 255).astype(np.uint8)


def _resized(picture: np.ndarray, factor: float) -> np.ndarray:
    """Bilinear between pixel centres; by 1/5 this is every fifth pixel, as OpenCV's resize gives it."""
    if factor == 1:
        return picture
    for axis in (0, 1):
        n = picture.shape[axis]
        at = np.clip((np.arange(round(n * factor)) + 0.5) / factor - 0.5, 0, n - 1)
        low = np.minimum((at + 1e-9).astype(int), n - 1)
        share = np.expand_dims(np.clip(at - low, 0, 1), [k for k in range(3) if k != axis])
        picture = picture.take(low, axis) * (1 - share) + picture.take(np.minimum(low + 1, n - 1), axis) * share
    return np.rint(picture).astype(np.uint8)


def _files(choice: str | Path) -> list[Path]:
    """The picture files of a choice other than "own"."""
    if choice == "imagecorruptions":
        spec = find_spec("imagecorruptions")
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(
                'frost="imagecorruptions" reads the pictures of that package: '
                'pip install "robcomp[corruptions]", or take frost="own"'
            )
        return [Path(spec.submodule_search_locations[0]) / "frost" / name for name in OFFICIAL]
    folder = Path(choice)
    named = [file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    files = sorted(file for file in named if file.is_file())  # no folder, and no pipe, which would be waited for
    if not files:
        raise ValueError(
            f'frost={str(choice)!r}: allowed are "own", "imagecorruptions" or a folder with pictures '
            f"({' '.join(SUFFIXES)})"
        )
    if len(files) > MOST:
        raise ValueError(
            f"frost={str(choice)!r} has {len(files):,} pictures, all of which are held in memory: take {MOST} at most"
        )
    return files


def _read(file: Path, size: int, strengths: str) -> np.ndarray:
    """One picture as the benchmark uses it: 0.2 of its size for 32 pixels, all for 224; other sizes in proportion."""
    factor = 0.2 * size / 32 if strengths == "cifar" else size / 224
    try:
        from PIL import Image

        with Image.open(file) as opened:
            picture = _resized(np.asarray(opened.convert("RGB")), factor)
    except ImportError:
        raise ValueError('frost pictures are read with Pillow: pip install "robcomp[corruptions]"') from None
    except Exception as error:  # decoders raise nearly every kind of error on damaged bytes
        raise ValueError(f"frost picture {file} cannot be read ({first_line(error)}): mend it or take it out") from None
    if min(picture.shape[:2]) <= size:
        raise ValueError(
            f"frost picture {file} is {picture.shape[1]} x {picture.shape[0]} pixels at {factor:.2g} of "
            f"its size, images are {size}: take a larger picture"
        )
    return picture


@lru_cache(maxsize=8)
def pictures(choice: str | Path = "own", size: int = 32, strengths: str = "cifar") -> tuple[np.ndarray, ...]:
    """RGB uint8 pictures at the scale at which an image of `size` pixels is cut out of them; each is equally likely.

    A cut for `imagenet` shows 224 pixels of a photograph and one for `cifar` 160, five for one: ours keep that
    proportion.
    """
    if choice == "own":
        seen = size if strengths == "cifar" else round(size * 160 / 224)
        first, second, third, fourth = (_texture(number, seen) for number in range(4))
        return first, second, second, third, fourth  # the official second and third pictures are the same
    return tuple(_read(file, size, strengths) for file in _files(choice))


def packed(taken: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All levels in one array, then where each picture starts, its height and its width."""
    starts = np.cumsum([0] + [picture.size for picture in taken])[:-1]
    heights, widths = np.array([picture.shape[:2] for picture in taken]).T.copy()
    return np.concatenate([picture.ravel() for picture in taken]), starts, heights, widths


def fingerprint(choice: str | Path = "own") -> str:
    """16 hex characters of the pictures' pixels: names what `choice` meant on this machine."""
    return sha256(b"".join(picture.tobytes() for picture in pictures(choice))).hexdigest()[:16]
