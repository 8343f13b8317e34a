"""Any picture file as a small square of RGB bytes, and many of them as an array that is decoded where it is read."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from robcomp._text.errors import first_line

# what is looked for in a file whatever its name: no format that another program would have to read
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


def read_picture(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8: turned upright, transparency laid on white, scaled by the short side, centre kept."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_range(image)
                _read_transparency(image)
                ends = _ends(image)  # said by the file, not by the picture that was turned
                turned = _rgb(ImageOps.exif_transpose(image), *ends)
                square = ImageOps.fit(turned, (size, size), Image.Resampling.BICUBIC)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(
            f"image {str(path)!r} is too large: at most {Image.MAX_IMAGE_PIXELS:,} pixels, scale it down or take it out"
        ) from None
    except Exception as error:  # decoders raise nearly every kind of error on damaged bytes
        said = _kind_of_tiff(path) or first_line(error)
        raise ValueError(f"unreadable image {str(path)!r} ({said}): mend it or take it out") from None
    return np.asarray(square)


def _kind_of_tiff(path: Path) -> str:
    """What kind of TIFF a file is that no format was found for, and what to do; empty for any other file."""
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        Image.open(path, formats=FORMATS).close()
        return ""
    except Image.UnidentifiedImageError:
        pass
    except Exception:
        return ""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            tags = ImageFileDirectory_v2(start + (file.read(8) if start[2:3] == b"+" else b""))
            file.seek(tags.next)
            tags.load(file)
        bits, white = max(tags[BITS]), " and white at zero" * (tags[MEANING] == WHITE_IS_ZERO)
    except Exception:
        return ""  # no TIFF, or a damaged one
    return f"there is no reader for a TIFF of {bits} bits{white} in its order of bytes: save it as PNG"


class Pictures:
    """Picture files as an array (n, size, size, 3) of uint8 of which only what is asked for is decoded and held."""

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[str | Path], size: int, stamps: np.ndarray | None = None):
        self.files = np.array([str(file) for file in files], object)
        self.stamps = (
            np.array([_stamp(file) for file in self.files], np.int64).reshape(-1, 2) if stamps is None else stamps
        )
        self.shape = (len(self.files), size, size, 3)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"Pictures({len(self):,} files, {self.shape[1]} x {self.shape[1]})"

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def take(self, positions) -> Pictures:
        """Some of the files, none of them read."""
        files = np.atleast_1d(self.files[np.asarray(positions)])
        return Pictures(files, self.shape[1], self.stamps[np.asarray(positions)].reshape(-1, 2))

    def __getitem__(self, positions) -> np.ndarray:
        """The pixels at a position, a slice or an array of positions."""
        if isinstance(positions, tuple):
            raise IndexError("pictures are read whole: index them by position, then the pixels")
        if isinstance(positions, slice):
            return self[np.arange(len(self))[positions]]
        positions = np.asarray(positions)
        found = [
            self._read(file, stamp)
            for file, stamp in zip(np.atleast_1d(self.files[positions]), self.stamps[positions].reshape(-1, 2))
        ]
        return (
            found[0] if positions.ndim == 0 else np.stack(found) if found else np.empty((0, *self.shape[1:]), np.uint8)
        )

    def _read(self, file: str, stamp: np.ndarray) -> np.ndarray:
        try:
            same = _stamp(file) == tuple(stamp)
        except FileNotFoundError:
            same = False
        if not same:
            raise ValueError(f"image {file!r} has changed or gone since its folder was read: read the folder again")
        return read_picture(Path(file), self.shape[1])


def _stamp(file: str | Path) -> tuple[int, int]:
    state = os.stat(file)
    return state.st_size, state.st_mtime_ns


def _named_as_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def class_pictures(folder: Path) -> list[Path]:
    """The files in the folder of a class that are pictures by their names; what is hidden, a folder or a pipe is passed
    over. One line of error where there are none, or some stand deeper."""
    if deeper := deeper_picture(folder):
        raise ValueError(
            f"class folder {str(folder)!r} has images in a folder of its own, {str(deeper)!r}: put all "
            "images of a class right into its folder"
        )
    named = sorted(folder / name for name in os.listdir(folder) if _named_as_picture(name))
    if found := [path for path in named if path.is_file()]:
        return found
    raise ValueError(f"class folder {str(folder)!r} has no images ({' '.join(SUFFIXES)})")


LOOKED_AT = 20_000  # names, before a search ends: a whole disk would be walked for a minute


def deeper_picture(folder: Path) -> Path | None:
    """A picture in a folder below this one, which nobody would read; None where none is soon found."""
    looked = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        looked += len(folders) + len(files)
        if place != str(folder):
            for name in filter(_named_as_picture, files):
                return Path(place, name)
        if looked > LOOKED_AT:
            return None


def common_side(files: Iterable[Path]) -> int:
    """The commonest length of the shorter side of some pictures, from 8 to 224; their headers alone are read."""
    from PIL import Image

    sides = Counter()
    for path in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
                sides[min(max(min(image.size), 8), 224)] += 1
        except Exception:
            continue  # whoever reads the whole picture says what is wrong with it
    return max(sides, key=lambda side: (sides[side], side), default=32)


def _check_range(image) -> None:
    """One line about pixels of which nobody knows how large white is."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode == "I" and image.format == "TIFF":  # of other formats, 16 bits are read into this mode
        raise ValueError("whole numbers of 32 bits, or with a sign, have no known range; save it with 8 or 16 bits")


def _ends(image) -> tuple[int, int]:
    """The numbers of black and of white in greys of more than eight bits: a TIFF may have 12, and white at zero."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    largest = 2 ** tags.get(BITS, (16,))[0] - 1
    return (largest, 0) if tags.get(MEANING) == WHITE_IS_ZERO else (0, largest)


BITS, MEANING, WHITE_IS_ZERO = 258, 262, 0  # BitsPerSample, PhotometricInterpretation and one of its values
STEPS = {"L;2": 85, "L;4": 17}  # of grey levels that a PNG has in fewer bits than eight


def _read_transparency(image) -> None:
    """Bring the colour that a PNG calls transparent to the numbers its pixels are read as, before they are."""
    colour, form = image.info.get("transparency"), image.tile[0][3] if image.format == "PNG" and image.tile else ""
    if colour is None:
        return
    if form in STEPS:
        image.info["transparency"] = colour * STEPS[form]
    if form == "RGB;16B":
        image.info["transparency"] = tuple(part >> 8 for part in colour)


def _rgb(image, black: int, white: int):
    from PIL import Image

    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        levels = np.where(levels == image.info.get("transparency", -1), white, levels)
        grey = np.clip((levels - black) * 255 // (white - black), 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
