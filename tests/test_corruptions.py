"""The nineteen corruptions: published bytes, published formulas, draws that belong to the image, suites, arrays."""

import copy
import errno
import hashlib
import http.server
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

from robcomp._corruptions import official as _official
from robcomp._corruptions import tables as _tables
from robcomp.arrays import CBAR, download, download_arrays
from robcomp.conditions import Condition, deal_positions
from robcomp.corruptions import Suite, corrupt, corruption, write_arrays
from robcomp.data import Data, Images, load
from robcomp.published_corruptions import NOISES, STRENGTH, STRENGTHS, Draws, byte_probabilities
from robcomp.schema import CORRUPTIONS, DEAL_COLUMNS, SEVERITIES, STANDARD, check

DETERMINED = (
    "brightness",
    "contrast",
    "defocus_blur",
    "gaussian_blur",
    "jpeg_compression",
    "pixelate",
    "saturate",
    "zoom_blur",
)
needs_cifar = pytest.mark.skipif(not os.environ.get("ROBCOMP_DATA"), reason="ROBCOMP_DATA names no folder with CIFAR")


def one_line(error):
    assert "\n" not in str(error.value)


def scenes(n, size=32):
    """Coloured shapes with edges, ramps, grain, black and white: the same on every machine."""
    words = np.random.PCG64(7).random_raw(n * (8 + size * size * 3))
    plan, grain = words[: n * 8].reshape(n, 8), words[n * 8 :].reshape(n, size, size, 3)
    y, x = np.mgrid[:size, :size] / size
    images = np.empty((n, size, size, 3), np.uint8)
    for i, (a, b, c, d, *colours) in enumerate((plan % np.uint64(1009)).astype(float)):
        ramp = np.stack([np.abs(x * (a % 7 - 3) + y * (b % 5 - 2) + k * c / 1009) % 1 for k in range(3)], -1)
        inside = (x - c / 1009) ** 2 + (y - d / 1009) ** 2 < (a % 11 / 30) ** 2
        image = np.where(inside[..., None], np.array(colours[:3]) / 1009, ramp) * 255
        images[i] = np.clip(image + (grain[i] % np.uint64(int(a) % 40 + 1)).astype(float) - 20, 0, 255)
    return images


@pytest.fixture(scope="module")
def sample():
    return scenes(24)


# ------------------------------------------------------------------------------------------------- the published bytes


def npy_digest(blocks, rows):
    total = hashlib.md5()
    header = io.BytesIO()
    for k, block in enumerate(blocks):
        if not k:
            np.lib.format.write_array_header_1_0(
                header,
                dict(
                    descr=np.lib.format.dtype_to_descr(block.dtype), fortran_order=False, shape=(rows, *block.shape[1:])
                ),
            )
            total.update(header.getvalue())
        total.update(np.ascontiguousarray(block).data)
    return total.hexdigest()


@needs_cifar
@pytest.mark.parametrize("name", DETERMINED)
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_published_bytes(dataset, name):
    images = cifar_test(dataset).images
    found = npy_digest((corrupt(images, name, severity) for severity in SEVERITIES), 50_000)
    assert found == _official.MD5[dataset][name]


@needs_cifar
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_published_labels(dataset):
    labels = cifar_test(dataset).labels.astype(np.uint8)
    assert npy_digest([labels] * 5, 50_000) == _official.MD5[dataset]["labels"]


_loaded = {}


def cifar_test(dataset):
    if dataset not in _loaded:
        _loaded[dataset] = load(dataset).test
    return _loaded[dataset]


PINNED = dict(
    brightness="bd55d2ffd7ec8367e831945ecddaa3af",
    contrast="750cd026a4752e784f6aa8957209c4f2",
    defocus_blur="c856fa242ba99ff2f26074291abba353",
    gaussian_blur="51be000bf8b918b9f29e0000a859bf49",
    jpeg_compression="e29ba205c636ada7d4a3d69cb2fb55a9",
    pixelate="8a2e9888a27f0e920a4533ac3d76f406",
    saturate="75b4758dde0a05ceea0e80c39af52f1f",
    zoom_blur="544060e2e890371a6ac8b4233ae76089",
)


@pytest.mark.parametrize("name", DETERMINED)
def test_bytes_of_200_scenes(name):
    """Pinned where the full arrays came out right: the same check in a second, wherever CIFAR is absent."""
    images = scenes(200)
    assert npy_digest((corrupt(images, name, severity) for severity in SEVERITIES), 1000) == PINNED[name]


# --------------------------------------------------------------------------------------------- the published formulas


def stored(x):
    return np.uint8(np.clip(x, 0, 1) * 255)


def to_hsv(x):
    v, delta = x.max(-1), np.ptp(x, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = np.where(delta == 0, 0, delta / v)
        r, g, b = np.moveaxis(x, -1, 0)
        h = np.where(b == v, 4 + (r - g) / delta, np.where(g == v, 2 + (b - r) / delta, (g - b) / delta))
    return np.stack([np.where(delta == 0, 0, h / 6 % 1), s, v], -1)


def to_rgb(x):
    h, s, v = np.moveaxis(x, -1, 0)
    sector = np.floor(h * 6)
    f = h * 6 - sector
    p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
    table = np.array([[v, t, p], [q, v, p], [p, v, t], [p, q, v], [t, p, v], [v, p, q]])
    return np.moveaxis(np.take_along_axis(table, (sector.astype(int) % 6)[None, None], 0)[0], 0, -1)


def brightness(x, c):
    h = to_hsv(x / 255.0)
    h[..., 2] = np.clip(h[..., 2] + c, 0, 1)
    return stored(to_rgb(h))


def saturate(x, c):
    h = to_hsv(x / 255.0)
    h[..., 1] = np.clip(h[..., 1] * c[0] + c[1], 0, 1)
    return stored(to_rgb(h))


def contrast(x, c):
    x = x / 255.0
    means = x.mean((0, 1), keepdims=True)
    return stored((x - means) * c + means)


def gaussian_blur(x, c):
    return stored(ndimage.gaussian_filter(x / 255.0, (c, c, 0), mode="nearest", truncate=4))


def defocus_blur(x, c):
    radius, sigma = c
    line = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (line**2 + line[:, None] ** 2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    taps = np.exp(-0.5 * (np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)) ** 2 / sigma**2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (1, 0):
        disk = ndimage.correlate1d(disk, taps, axis, mode="mirror", output=np.float32)
    return stored(
        np.stack([ndimage.correlate(x[..., k] / 255.0, disk.astype(float), mode="mirror") for k in range(3)], -1)
    )


def zoom_blur(x, stop):
    x, size = (x / 255.0).astype(np.float32), len(x)
    factors, total = np.arange(1, *(stop if isinstance(stop, tuple) else (stop, 0.01))), np.zeros_like(x)
    for factor in factors:
        kept = int(np.ceil(size / factor))
        top = (size - kept) // 2
        large = ndimage.zoom(x[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
        trim = (len(large) - size) // 2
        total += large[trim : trim + size, trim : trim + size]
    return stored((x + total) / (len(factors) + 1))


def pixelate(x, c):
    from PIL import Image

    small = Image.fromarray(x).resize((int(len(x) * c),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((len(x), len(x)), Image.Resampling.BOX))


ORACLES = dict(
    brightness=brightness,
    saturate=saturate,
    contrast=contrast,
    gaussian_blur=gaussian_blur,
    defocus_blur=defocus_blur,
    zoom_blur=zoom_blur,
    pixelate=pixelate,
)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ORACLES)
def test_published_formula(name, severity, sample):
    expected = np.stack([ORACLES[name](image, STRENGTH[name][severity - 1]) for image in sample])
    assert (corrupt(sample, name, severity) == expected).all()


FOR_224 = dict(
    brightness=(0.1, 0.2, 0.3, 0.4, 0.5),
    saturate=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
    gaussian_blur=(1, 2, 3, 4, 6),
    defocus_blur=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    pixelate=(0.6, 0.5, 0.4, 0.3, 0.25),
    zoom_blur=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ORACLES)
def test_published_formula_at_224(name, severity):
    """A sum is added in another order here: where it ends at a whole level, the levels may differ by one."""
    image = scenes(1, 224)[0]
    made, expected = (
        corrupt(image[None], name, severity)[0].astype(int),
        ORACLES[name](image, FOR_224[name][severity - 1]),
    )
    apart = np.abs(made - expected)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01 and (made != image).any(), (apart.max(), (apart > 0).mean())


def test_strengths_tell_suites_apart_and_are_silent_where_nothing_changed(few):
    usual, strong = Suite(few), Suite(few, strengths="imagenet")
    assert usual.text == Suite(few, strengths="cifar").text == Suite(few).text and "strengths" not in usual.text
    assert strong.text == usual.text + " strengths=imagenet"
    noisy = Condition("gaussian_noise", 5)
    assert (usual.batch(noisy)[0] == corrupt(few.test.images, "gaussian_noise", 5)).all() and (
        strong.batch(noisy)[0] != usual.batch(noisy)[0]
    ).any()
    large = scenes(2, 64)
    for name in CORRUPTIONS:
        assert (corrupt(large, name, 3) == corrupt(large, name, 3, strengths="imagenet")).all()
        assert (corrupt(large, name, 3) != corrupt(large, name, 3, strengths="cifar")).any(), name
    assert STRENGTHS["imagenet"]["gaussian_noise"][4] == 0.38
    for size, strengths, words in (
        (56, None, "pass strengths='cifar' or 'imagenet'"),
        (32, "imagnet", "did you mean 'imagenet'?"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            corrupt(np.zeros((1, size, size, 3), np.uint8), "fog", 1, strengths=strengths)
        one_line(error)


@pytest.mark.parametrize("quality, severity", list(zip(STRENGTH["jpeg_compression"], SEVERITIES)))
def test_jpeg_is_close_to_exact_arithmetic(quality, severity, sample):
    """The codec with real numbers for the integers of the library: cosines of 8 points for luma, of 16 for chroma."""
    from scipy.fft import dctn, idctn

    steps = _tables.steps(quality)
    ycc = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
    planes = np.rint(sample @ ycc.T - [128, 0, 0])
    for k, n in ((0, 8), (1, 16), (2, 16)):
        for i in range(len(sample)):
            for y in range(0, 32, n):
                for x in range(0, 32, n):
                    block = planes[i, y : y + n, x : x + n, k]
                    level = dctn(block, norm="ortho")[:8, :8] * 8 / n
                    level = np.rint(level / steps[min(k, 1)]) * steps[min(k, 1)]
                    planes[i, y : y + n, x : x + n, k] = idctn(level * n / 8, s=(n, n), norm="ortho")
    rgb = np.linalg.inv(ycc) @ (np.clip(np.rint(planes), -128, 127) + [128, 0, 0])[..., None]
    apart = np.abs(np.clip(np.rint(rgb[..., 0]), 0, 255) - corrupt(sample, "jpeg_compression", severity))
    assert apart.mean() < 0.6 and np.mean(apart == 0) > 0.75  # what differs: levels halfway between two steps


# --------------------------------------------------------------------------------------------------------------- noise


def chi_square(counts, chances):
    """Probability of a worse fit of counts to chances; rare values pooled."""
    assert not counts[chances < 1e-12].any()
    order = np.argsort(chances)[(chances < 1e-12).sum() :]
    counts, expected = counts[order], chances[order] * counts.sum()
    group = np.minimum(np.cumsum(expected) // 10, np.cumsum(expected)[-1] // 10 - 1)
    _, group = np.unique(group, return_inverse=True)
    counts, expected = np.bincount(group, counts), np.bincount(group, expected)
    if len(counts) < 2:
        return 1.0
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", NOISES)
def test_noise_is_drawn_from_its_table(name, severity):
    levels = np.array([0, 1, 17, 77, 128, 201, 254, 255])
    images = (
        np.broadcast_to(levels.astype(np.uint8)[:, None, None, None, None], (8, 20, 32, 32, 3))
        .reshape(-1, 32, 32, 3)
        .copy()
    )
    out = corrupt(images, name, severity, seed=11).reshape(8, -1)
    table = byte_probabilities(name, severity)
    assert np.allclose(table.sum(1), 1) and (table >= 0).all()
    for level, drawn in zip(levels, out):
        counts = np.bincount(drawn, minlength=256)
        assert not counts[table[level] == 0].any()
        assert chi_square(counts, table[level]) > 1e-4


def published_noise(rng, name, x, c):
    x = x / 255.0
    if name == "gaussian_noise":
        return stored(x + rng.normal(size=x.shape, scale=c))
    if name == "shot_noise":
        return stored(rng.poisson(x * c) / c)
    if name == "speckle_noise":
        return stored(x + x * rng.normal(size=x.shape, scale=c))
    hit, salt = rng.random(x.shape) < c, rng.random(x.shape) < 0.5
    return stored(np.where(hit, salt, x))


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", NOISES)
def test_noise_table_is_the_published_formula(name, severity):
    rng = np.random.default_rng(3)
    for level in (0, 3, 100, 250, 255):
        drawn = published_noise(rng, name, np.full(40_000, level, np.uint8), STRENGTH[name][severity - 1])
        assert chi_square(np.bincount(drawn, minlength=256), byte_probabilities(name, severity)[level]) > 1e-4


@pytest.mark.parametrize("name", NOISES)
def test_neighbouring_draws_are_unrelated(name):
    flat = np.full((40, 32, 32, 3), 128, np.uint8)
    a = corrupt(flat, name, 5).astype(float)
    assert abs(np.corrcoef(a[..., :-1, :].ravel(), a[..., 1:, :].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(a[..., 0].ravel(), a[..., 1].ravel())[0, 1]) < 0.02
    for b in (corrupt(flat, name, 5, seed=1), corrupt(flat, name, 5, seed=Draws(0, np.arange(1, 41) + 50))):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


# -------------------------------------------------------------------------------------- draws that belong to the image


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_subset_in_any_order(name, sample):
    whole = corrupt(sample, name, 4, seed=5)
    order = np.random.default_rng(0).permutation(len(sample))[:9]
    assert (corrupt(sample[order], name, 4, seed=Draws(5, order)) == whole[order]).all()
    assert (corrupt(sample[3:4], name, 4, seed=Draws(5, [3])) == whole[3:4]).all()
    assert (corrupt(sample, name, 4, seed=6) == whole).all() == (name in DETERMINED)
    assert whole.shape == sample.shape and whole.dtype == np.uint8 and (whole != sample).any()


def test_any_number_of_threads(sample):
    code = (
        "import sys; sys.path.insert(0, {tests!r}); from test_corruptions import scenes, corrupt, CORRUPTIONS, hashlib;"
        "images = scenes(40);"
        "print([hashlib.md5(corrupt(images, name, 5).tobytes()).hexdigest() for name in CORRUPTIONS])"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code.format(tests=str(Path(__file__).parent))],
            text=True,
            check=True,
            capture_output=True,
            env=os.environ | dict(NUMBA_NUM_THREADS=n),
        ).stdout
        for n in ("1", "3")
    ]
    assert found[0] == found[1] and len(found[0]) > 600


def test_callers_in_threads(sample):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: corrupt(sample, CORRUPTIONS[k % 19], 2), range(38)))
    for k in range(19):
        assert (found[k] == found[k + 19]).all() and (found[k] == corrupt(sample, CORRUPTIONS[k], 2)).all()


def test_the_images_are_not_touched(sample):
    before = sample.copy()
    fixed = sample.copy()
    fixed.setflags(write=False)
    for name in CORRUPTIONS:
        assert (corrupt(fixed, name, 3) == corrupt(sample, name, 3)).all()
    assert (sample == before).all()
    assert (corrupt(sample[:, ::-1], "gaussian_blur", 1) == corrupt(sample[:, ::-1].copy(), "gaussian_blur", 1)).all()


@pytest.mark.parametrize("size", [8, 33, 64])
@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("strengths", ["cifar", "imagenet"])
def test_other_sizes(name, size, strengths):
    images = scenes(2, size)
    out = corrupt(images, name, 5, strengths=strengths)
    assert out.shape == images.shape and out.dtype == np.uint8


def test_lengths_scale_with_the_size():
    """A picture twice as large, blurred and made small again, is about as blurred as the small one."""
    small = scenes(6)
    large = small.repeat(2, 1).repeat(2, 2)
    for name in ("gaussian_blur", "defocus_blur", "zoom_blur"):
        back = corrupt(large, name, 5, strengths="cifar").reshape(6, 32, 2, 32, 2, 3).mean((2, 4))
        apart = np.abs(back - corrupt(small, name, 5)).mean()
        assert apart < 0.3 * np.abs(corrupt(small, name, 5).astype(float) - small).mean(), (name, apart)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (dict(name="gausian_noise"), ValueError, "unknown corruption 'gausian_noise': did you mean 'gaussian_noise'?"),
        (dict(name=3), ValueError, "unknown corruption 3"),
        (dict(severity=0), ValueError, "severity is a whole number from 1 to 5, got 0"),
        (dict(severity=6), ValueError, "got 6"),
        (dict(severity=2.5), ValueError, "got 2.5"),
        (dict(severity="3"), ValueError, "got '3'"),
        (dict(severity=True), ValueError, "got True"),
        (dict(seed=1.5), ValueError, "seed is a whole number of 0 or more, got 1.5"),
        (dict(seed=-1), ValueError, "got -1"),
        (dict(images=np.zeros((2, 32, 32, 3), np.float32)), TypeError, "images are uint8 from 0 to 255, got float32"),
        (dict(images=np.zeros((32, 32, 3), np.uint8)), ValueError, "(n, size, size, 3), got (32, 32, 3)"),
        (dict(images=np.zeros((2, 32, 24, 3), np.uint8)), ValueError, "got (2, 32, 24, 3)"),
        (dict(images=np.zeros((2, 3, 32, 32), np.uint8)), ValueError, "got (2, 3, 32, 32)"),
        (dict(images=np.zeros((2, 4, 4, 3), np.uint8)), ValueError, "8 to 512 pixels a side, got 4"),
        (dict(seed=Draws(0, [1])), ValueError, "one whole number an image"),
        (dict(seed=Draws(0, [-1, 0])), ValueError, "0 or more"),
        (dict(seed=Draws(0, [0.5, 1])), ValueError, "one whole number an image"),
        (dict(name="frost", frost="nowhere"), ValueError, "nowhere"),
    ],
)
def test_refused_in_one_line(change, kind, words):
    arguments = dict(images=np.zeros((2, 32, 32, 3), np.uint8), name="fog", severity=1) | change
    with pytest.raises(kind) as error:
        corrupt(**arguments)
    assert words in str(error.value)
    one_line(error)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_no_images(name):
    assert corrupt(np.zeros((0, 32, 32, 3), np.uint8), name, 1).shape == (0, 32, 32, 3)


def test_without_numba():
    code = """
import sys
sys.modules["numba"] = None
import numpy as np, robcomp.corruptions as c
try: c.corrupt(np.zeros((1, 32, 32, 3), np.uint8), "contrast", 1)
except ImportError as error: print(error)
"""
    assert (
        "pip install numba"
        in subprocess.run([sys.executable, "-c", code], text=True, check=True, capture_output=True).stdout
    )


# -------------------------------------------------------------------------------------------------------------- suites


@pytest.fixture(scope="module")
def few():
    """Sixty scenes as a data set of three classes."""
    images = Images(scenes(60), np.arange(60) % 3)
    return Data("few", images, images.take(range(10)), images, ["a", "b", "c"])


def test_suite_as_agreed(few):
    suite = Suite(few, per_condition=7, seed=3)
    assert suite.conditions[0] == ("clean", 0) and len(suite.conditions) == 76 and suite.data is few
    assert suite.conditions[1:] == [(name, severity) for name in STANDARD for severity in SEVERITIES]
    assert len(suite) == 60 + 75 * 7 == sum(len(suite.positions(condition)) for condition in suite.conditions)
    assert (suite.positions(Condition("clean", 0)) == np.arange(60)).all()
    for condition in suite.conditions[::9]:
        images, labels, numbers = suite.batch(condition)
        assert (numbers == suite.positions(condition)).all() and labels.dtype == np.int64
        clean = few.test.images[numbers]
        expected = clean if condition.corruption == "clean" else corrupt(clean, *condition, seed=Draws(3, numbers))
        assert (images == expected).all() and (labels == few.test.labels[numbers]).all()


def test_dealing_is_even(few):
    suite = Suite(few, per_condition=7)
    seen = np.bincount(np.concatenate([suite.positions(condition) for condition in suite.conditions[1:]]), minlength=60)
    assert seen.min() >= 75 * 7 // 60 and seen.max() <= -(-75 * 7 // 60)
    assert all(len(set(suite.positions(condition))) == 7 for condition in suite.conditions[1:])
    assert (
        np.concatenate(deal_positions(60, 5, 12, 0)).tolist() != np.concatenate(deal_positions(60, 5, 12, 1)).tolist()
    )
    assert sorted(np.concatenate(deal_positions(60, 5, 12, 4))) == list(range(60))


def test_deal_table(few):
    suite = Suite(few, corruptions=["fog", "saturate"], severities=[2, 4], per_condition=5)
    deal = check(suite.deal(), DEAL_COLUMNS)
    assert list(deal.columns) == list(DEAL_COLUMNS) and len(deal) == 5 and set(deal.suite) == {suite.text}
    for row in deal.itertuples():
        assert row.positions.dtype == np.int32 and row.labels.dtype == np.int16
        assert (row.labels == few.test.labels[row.positions]).all()


def test_text_tells_suites_apart(few, tmp_path):
    from PIL import Image

    for k in range(2):
        Image.fromarray(np.full((400, 400, 3), 50 * k, np.uint8)).save(tmp_path / f"{k}.png")
    options = [
        dict(),
        dict(seed=1),
        dict(per_condition=5),
        dict(per_condition=6),
        dict(severities=[1]),
        dict(corruptions=["fog"]),
        dict(corruptions=["snow"]),
        dict(corruptions=CORRUPTIONS),
        dict(frost=tmp_path),
    ]
    texts = [Suite(few, **option).text for option in options]
    assert len(set(texts)) == len(options) and all(
        text == Suite(few, **option).text for text, option in zip(texts, options)
    )
    assert "frost=own" in texts[0] and f"frost={tmp_path.name}-" in texts[-1] and "data=few" in texts[0]
    Image.fromarray(np.full((400, 400, 3), 9, np.uint8)).save(tmp_path / "2.png")
    code = "import sys, robcomp._corruptions.frost_pictures as f; print(f.fingerprint(sys.argv[1])[:8])"
    changed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], text=True, capture_output=True, check=True
    ).stdout.strip()
    assert not texts[-1].endswith(changed)


@pytest.mark.parametrize(
    "option, words",
    [
        (dict(corruptions=["foggy"]), "unknown corruption 'foggy'"),
        (dict(severities=[0]), "severity is a whole number from 1 to 5"),
        (dict(corruptions=[]), "at least one"),
        (dict(severities=[1, 1]), "named twice"),
        (dict(per_condition=61), "from 1 to 60, got 61"),
        (dict(per_condition=0), "got 0"),
        (dict(source="offcial"), "did you mean 'official'?"),
        (dict(seed=0.5), "seed is a whole number"),
        (dict(source="official"), "no official arrays for 'few'"),
        (dict(frost="nowhere"), "nowhere"),
    ],
)
def test_suite_refuses(few, option, words):
    with pytest.raises(ValueError) as error:
        Suite(few, **option)
    assert words in str(error.value)
    one_line(error)


def test_condition_of_another_suite(few):
    with pytest.raises(ValueError, match="is not in this suite of 2 conditions") as error:
        Suite(few, corruptions="fog", severities=[1]).batch(Condition("fog", 2))
    one_line(error)


# ----------------------------------------------------------------------------------------------------- official arrays


@pytest.fixture
def published(tmp_path, monkeypatch, few):
    """A CIFAR-10-C of sixty images with only two corruptions, served from this machine; yields its folder."""
    served = tmp_path / "served"
    write_arrays(few, served / "CIFAR-10-C", corruptions=["contrast", "saturate"])
    (served / "CIFAR-10-C" / "robcomp.json").unlink()
    files = sorted((served / "CIFAR-10-C").iterdir())
    md5 = lambda path: hashlib.md5(path.read_bytes()).hexdigest()
    with tarfile.open(served / "c.tar", "w") as box:
        box.add(served / "CIFAR-10-C", "CIFAR-10-C")
    monkeypatch.setitem(_official.MD5, "cifar10", {path.stem: md5(path) for path in files})

    class Handler(http.server.SimpleHTTPRequestHandler):
        ranges = []

        def log_message(self, *_):
            pass

        def do_GET(self):
            content, start = (served / "c.tar").read_bytes(), 0
            Handler.ranges.append(self.headers.get("Range"))
            if wanted := self.headers.get("Range"):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + 200_000] if Handler.breaks else content[start:])

    Handler.breaks = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(
        _official.ARCHIVES, "cifar10", (f"http://127.0.0.1:{server.server_port}/c.tar", md5(served / "c.tar"))
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("ROBCOMP_DATA", str(tmp_path / "root"))
    yield Handler, served, tmp_path / "root"
    server.shutdown()


def as_cifar10(few):
    return Data("cifar10", few.train, few.calibration, few.test, few.classes)


def test_official_source(published, few):
    download("cifar10")
    suite = Suite(as_cifar10(few), corruptions=["saturate", "contrast"], per_condition=20, source="official")
    for condition in suite.conditions[1:]:
        images, labels, numbers = suite.batch(condition)
        assert (images == corrupt(few.test.images[numbers], *condition)).all() and (
            labels == few.test.labels[numbers]
        ).all()
    assert "source=official" in suite.text and "frost" not in suite.text
    assert isinstance(_official.official(published[2], "cifar10", "contrast"), np.memmap)


def test_verified_once(published, few, monkeypatch):
    folder = download("cifar10")
    monkeypatch.setattr(_official, "digest", lambda *_, **__: pytest.fail("hashed again"))
    _official.official(published[2], "cifar10", "contrast")
    os.utime(folder / "contrast.npy", (1, 1))
    with pytest.raises(BaseException, match="hashed again"):
        _official.official(published[2], "cifar10", "contrast")


def test_download_goes_on(published):
    handler, served, root = published
    handler.breaks = True
    size = (served / "c.tar").stat().st_size
    with pytest.raises(OSError, match="call again to go on") as error:
        download("cifar10")
    one_line(error)
    assert 0 < (root / "c.tar.part").stat().st_size < size and not (root / "c.tar").exists()
    handler.breaks = False
    assert sorted(path.stem for path in download("cifar10").glob("*.npy")) == ["contrast", "labels", "saturate"]
    assert handler.ranges[-1] not in (None, "bytes=0-") and not list(root.glob("c.tar*"))


def test_download_of_something_else(published):
    handler, served, root = published
    (served / "c.tar").write_bytes(b"not a tar")
    with pytest.raises(ValueError, match="damaged archive .*c.tar") as error:
        download("cifar10")
    one_line(error)
    assert not list(root.rglob("*.npy"))


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.unlink(), "no official array .*contrast.npy.*download\\('cifar10'\\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged official file .*contrast.npy.* its md5 is"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
            "damaged official file .*contrast.npy.* its md5 is",
        ),
    ],
)
def test_official_file_missing_truncated_or_changed(published, few, damage, words):
    damage(download("cifar10") / "contrast.npy")
    suite = Suite(as_cifar10(few), corruptions=["contrast"], source="official")
    with pytest.raises((ValueError, OSError), match=words) as error:
        suite.batch(Condition("contrast", 1))
    one_line(error)


def test_no_official_folder(monkeypatch, tmp_path, few):
    monkeypatch.setenv("ROBCOMP_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no official array .*labels.npy") as error:
        Suite(as_cifar10(few), source="official")
    one_line(error)


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setitem(_official.ARCHIVES, "cifar10", ("http://127.0.0.1:9/c.tar", ""))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(OSError, match="cannot download http://127.0.0.1:9/c.tar .*call again to go on") as error:
        download("cifar10", root=tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("../evil.npy", tarfile.REGTYPE),
        ("/tmp/robcomp-evil.npy", tarfile.REGTYPE),
        ("a/../../evil.npy", tarfile.REGTYPE),
        ("link.npy", tarfile.SYMTYPE),
        ("hard.npy", tarfile.LNKTYPE),
    ],
)
def test_archive_that_leaves_its_folder(tmp_path, name, kind):
    with tarfile.open(tmp_path / "c.tar", "w") as box:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        box.addfile(entry)
    with pytest.raises(ValueError, match="refused archive") as error:
        _official.unpack(tmp_path / "c.tar", tmp_path / "in")
    one_line(error)
    assert not (tmp_path / "in").exists() and not (tmp_path / "evil.npy").exists()


# --------------------------------------------------------------------------------------------------------- own arrays


def test_arrays_in_the_official_layout(few, tmp_path):
    files = write_arrays(few, tmp_path / "few-C", seed=2)
    assert [path.stem for path in files] == [*CORRUPTIONS, "labels"]
    for name in CORRUPTIONS:
        array = np.load(tmp_path / "few-C" / f"{name}.npy")
        assert array.shape == (300, 32, 32, 3) and array.dtype == np.uint8
        assert (array[60:120] == corrupt(few.test.images, name, 2, seed=2)).all()
    labels = np.load(files[-1])
    assert labels.dtype == np.uint8 and (labels == np.tile(few.test.labels, 5)).all()
    saved = io.BytesIO()
    np.save(saved, array)
    assert saved.getvalue() == (tmp_path / "few-C" / f"{name}.npy").read_bytes()


def test_arrays_go_on_where_they_stopped(few, tmp_path):
    (first,) = (path for path in write_arrays(few, tmp_path, corruptions=["contrast"]) if path.stem == "contrast")
    before = first.stat().st_mtime_ns
    write_arrays(few, tmp_path, corruptions=["contrast"])
    assert first.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="made with other settings") as error:
        write_arrays(few, tmp_path, corruptions=["contrast"], seed=1)
    one_line(error)
    (tmp_path / "robcomp.json").unlink()
    with pytest.raises(ValueError, match="contrast.npy that was not written here"):
        write_arrays(few, tmp_path, corruptions=["contrast"])


def test_disk_full_while_writing(few, tmp_path, monkeypatch):
    real = _official._serial

    def full(blocks, rows, bar):
        yield from real(blocks, rows, bar)
        if "saturate" in str(list(tmp_path.glob("*.partial"))):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_official, "_serial", full)
    with pytest.raises(OSError, match="cannot write .*saturate.npy.*No space left.*what is finished is kept") as error:
        write_arrays(few, tmp_path, corruptions=["contrast", "saturate"])
    one_line(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contrast.npy", "robcomp.json"]
    monkeypatch.setattr(_official, "_serial", real)
    assert len(write_arrays(few, tmp_path, corruptions=["contrast", "saturate"])) == 3


# ------------------------------------------------------------------------------------------------ somebody's own


@corruption
def banding(images, severity, generator):
    "Rows of another brightness."
    shift = generator.integers(-10 * severity, 10 * severity + 1, (1, images.shape[1], 1, 1))
    return (images.astype(int) + shift).clip(0, 255).astype(np.uint8)


def test_own_corruption_draws_for_the_image_and_enters_the_text(few):
    suite = Suite(few, corruptions=["fog", banding], severities=[2, 4], per_condition=7)
    assert "corruptions=fog,banding severities=2,4" in suite.text and suite.text.endswith(
        f" own=banding-{banding.digest}"
    )
    images, labels, numbers = suite.batch(Condition("banding", 4))
    assert (images == corrupt(few.test.images, banding, 4)[numbers]).all() and (
        images != few.test.images[numbers]
    ).any()
    assert (suite.batch(Condition("banding", 4), slice(3, 5))[0] == images[3:5]).all()
    assert (corrupt(few.test.images, banding, 4, seed=1) != corrupt(few.test.images, banding, 4)).any()
    assert (
        corrupt(few.test.images[5:6], banding, 4, seed=Draws(0, [5])) == corrupt(few.test.images, banding, 4)[5:6]
    ).all()
    assert pickle.loads(pickle.dumps(banding)) is banding


def test_own_corruption_of_another_source_is_another_suite(few, tmp_path, monkeypatch):
    texts = []
    monkeypatch.syspath_prepend(tmp_path)
    for amount in (2, 3):
        (tmp_path / f"mine{amount}.py").write_text(
            f"def dull(images, severity, generator): return images // {amount}\n"
        )
        texts.append(Suite(few, corruptions=[corruption(__import__(f"mine{amount}").dull)], severities=[1]).text)
    assert texts[0].rpartition("-")[0] == texts[1].rpartition("-")[0] and texts[0] != texts[1]


SHADE = 2


def test_own_corruption_of_other_constants_is_another_suite(few, monkeypatch):
    def made(amount, kept=0):
        def dull(images, severity, generator, kept=kept):
            return images // np.uint8(amount) * np.uint8(SHADE) + np.uint8(kept)

        return Suite(few, corruptions=[corruption(dull)], severities=[1]).text

    assert made(2) == made(2)
    texts = {made(2), made(3), made(2, kept=1), made(np.arange(1, 2)), made(np.arange(2, 3))}
    monkeypatch.setitem(globals(), "SHADE", 1)
    assert len(texts | {made(2)}) == 6


def test_own_corruption_that_others_cannot_find_is_not_pickled(few):
    @corruption
    def dull(images, severity, generator):
        return images // 2

    with pytest.raises(TypeError, match="'dull' is defined inside a function, so no other process finds it") as error:
        pickle.dumps(dull)
    one_line(error)
    assert copy.deepcopy(dull) is copy.copy(dull) is dull


def test_own_corruption_of_a_notebook_is_not_pickled(few, monkeypatch):
    monkeypatch.setattr(banding, "__module__", "__main__")
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(TypeError, match="'banding' is defined in a notebook, so no other process finds it") as error:
        pickle.dumps(banding)
    one_line(error)


@pytest.mark.parametrize("thing", [3, None, object()])
def test_own_corruption_is_a_function(thing):
    with pytest.raises(TypeError, match="a corruption is made of a function that has a name, got") as error:
        corruption(thing)
    one_line(error)


def test_own_corruption_without_a_source_is_refused(few):
    place = {}
    exec("def dull(images, severity, generator): return images // 2", place)
    with pytest.raises(
        ValueError, match="the source of corruption 'dull' cannot be read: define it in a file or a notebook"
    ) as error:
        Suite(few, corruptions=[corruption(place["dull"])])
    one_line(error)


@corruption
def floats(images, severity, generator):
    return images * 0.5


@corruption
def halves(images, severity, generator):
    return images[:, ::2]


@corruption
def listed(images, severity, generator):
    return images.tolist()


@corruption
def breaks(images, severity, generator):
    raise KeyError("lens\nand more")


@corruption
def restless(images, severity, generator):
    return np.full_like(images, restless.__dict__.setdefault("calls", iter(range(256))).__next__())


@pytest.mark.parametrize(
    "own, words",
    [
        (floats, "'floats' returns float64, images are uint8 from 0 to 255"),
        (listed, "'listed' returns list"),
        (halves, "returns images of \\(1, 16, 32, 3\\), it was given \\(1, 32, 32, 3\\)"),
        (breaks, "'breaks' fails at severity 1 \\(KeyError"),
        (restless, "gives other pixels the second time"),
    ],
)
def test_own_corruption_that_will_not_do(few, own, words):
    for call in (lambda: Suite(few, corruptions=own), lambda: corrupt(few.test.images, own, 1)):
        with pytest.raises((ValueError, TypeError), match=words) as error:
            call()
        one_line(error)


@pytest.mark.parametrize("name", ["fog", "clean", "standard", "Banding", "bänd"])
def test_own_corruption_needs_a_name_of_its_own(name):
    def function(images, severity, generator):
        return images

    function.__name__ = name
    with pytest.raises(ValueError, match=f"rename the function '{name}'") as error:
        corruption(function)
    one_line(error)


def test_own_corruption_in_a_store(few, tmp_path):
    import torch
    from robcomp.data import contract_of
    from robcomp.models import model_from
    from robcomp.chart_tables import by_condition
    from robcomp.results import summarise
    from robcomp.tables import collect
    from robcomp.sweep import Study, sweep

    torch.manual_seed(0)
    net = model_from(
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 3)
        ),
        name="net",
        classes=3,
        contract=contract_of(few),
    )
    sweep(
        Study(few, net, conditions=dict(corruptions=["contrast", banding], severities=[3])),
        ["dense", "prune0.5"],
        tmp_path,
        progress=False,
    )
    tables = collect(tmp_path)
    assert len(tables.trials) == 2 and set(tables.rows.corruption) == {"clean", "contrast", "banding"}
    assert set(by_condition(tables).corruption) == {"clean", "contrast", "banding"}
    found = summarise(tables)
    contrast = tables.rows[tables.rows.corruption == "contrast"].set_index("key")
    assert np.allclose(found.set_index("key").robust, (contrast.correct / contrast.n)[found.key]), (
        "only the standard corruptions count as robust"
    )


# ------------------------------------------------------------------------------------------------ arrays of a folder


@pytest.fixture
def bar(few, tmp_path):
    """CIFAR-10-C-bar of sixty images as the authors' script leaves it: int64 labels, one array a corruption."""
    folder = tmp_path / "CIFAR-10-C-Bar"
    folder.mkdir()
    for k, name in enumerate(CBAR[:2]):
        np.save(folder / f"{name}.npy", np.concatenate([few.test.images // (k + s) for s in range(1, 6)]))
    np.save(folder / "labels.npy", np.tile(few.test.labels, 5))
    return folder


def test_arrays_of_a_folder_are_read_as_they_lie(few, bar):
    suite = Suite(few, corruptions=CBAR[:2], source=bar, per_condition=9)
    for k, name in enumerate(CBAR[:2]):
        for severity in SEVERITIES:
            images, labels, numbers = suite.batch(Condition(name, severity))
            assert (images == few.test.images[numbers] // (k + severity)).all() and (
                labels == few.test.labels[numbers]
            ).all()
    assert (suite.batch(Condition("clean", 0))[0] == few.test.images).all()
    assert (
        "source=CIFAR-10-C-Bar-" in suite.text
        and suite.text == Suite(few, corruptions=CBAR[:2], source=bar, per_condition=9).text
    )
    np.save(bar / f"{CBAR[0]}.npy", np.load(bar / f"{CBAR[0]}.npy") // 2)
    assert suite.text != Suite(few, corruptions=CBAR[:2], source=bar, per_condition=9).text


def test_strengths_belong_to_corruptions_that_have_them(few, tmp_path):
    write_arrays(few, tmp_path / "few-C", corruptions=["contrast"])
    for strengths in ("cifar", "imagenet", "bogus"):
        with pytest.raises(ValueError, match="have the strengths they were made with: leave strengths out") as error:
            Suite(few, source=tmp_path / "few-C", corruptions=["contrast"], strengths=strengths)
        one_line(error)
    part = Images(np.zeros((4, 56, 56, 3), np.uint8), [0, 1, 0, 1])
    between = Data("between", part, part, part, ["a", "b"])
    assert "strengths" not in Suite(between, corruptions=[banding]).text
    for corruptions in (["fog"], ["fog", banding]):
        with pytest.raises(ValueError, match="pass strengths='cifar' or 'imagenet'"):
            Suite(between, corruptions=corruptions)


def test_own_arrays_come_back_through_a_folder(few, tmp_path):
    write_arrays(few, tmp_path / "few-C", corruptions=["contrast", "saturate"])
    back, made = (
        Suite(few, corruptions=["contrast", "saturate"], source=source) for source in (tmp_path / "few-C", "generated")
    )
    for condition in made.conditions:
        assert (back.batch(condition)[0] == made.batch(condition)[0]).all()


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: (folder / "labels.npy").unlink(), "holds no labels.npy"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros(300, int)), "other labels than the test images"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros(30, int)), "other labels than the test images"),
        (
            lambda folder: np.save(folder / f"{CBAR[0]}.npy", np.zeros((300, 32, 32, 3))),
            "holds float64 of shape \\(300, 32, 32, 3\\)",
        ),
        (
            lambda folder: np.save(folder / f"{CBAR[0]}.npy", np.zeros((60, 32, 32, 3), np.uint8)),
            "holds uint8 of shape \\(60, 32, 32, 3\\)",
        ),
        (lambda folder: (folder / f"{CBAR[0]}.npy").write_bytes(b"no array"), "is no array of images"),
        (lambda folder: (folder / f"{CBAR[0]}.npy").unlink(), f"unknown corruption '{CBAR[0]}'"),
    ],
)
def test_folders_of_arrays_that_will_not_do(few, bar, damage, words):
    damage(bar)
    with pytest.raises(ValueError, match=words) as error:
        Suite(few, corruptions=[CBAR[0]], source=bar, severities=[1]).batch(Condition(CBAR[0], 1))
    one_line(error)


def test_arrays_are_fetched_from_an_address_and_compared_with_the_test_images(published, few, bar):
    handler, served, root = published
    with tarfile.open(served / "c.tar", "w:gz") as box:
        box.add(bar, bar.name)
    url = _official.ARCHIVES["cifar10"][0].replace("c.tar", "bar.tar.gz")
    digest = hashlib.md5((served / "c.tar").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="damaged archive .*, not 0000") as error:
        download_arrays(url, few, md5="0000")
    one_line(error)
    folder = download_arrays(url, few, md5=digest)
    assert folder == root / "bar" / bar.name and not list(root.glob("bar.*"))
    here, there = (Suite(few, corruptions=CBAR[:2], source=source) for source in (bar, folder))
    assert here.text == there.text and all(
        (here.batch(each)[0] == there.batch(each)[0]).all() for each in here.conditions
    )
    asked = len(handler.ranges)
    assert download_arrays(url, few) == folder and len(handler.ranges) == asked, "what is there is not fetched again"


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: np.save(folder / "labels.npy", np.zeros(300, int)), "other labels than the test images"),
        (lambda folder: np.save(folder / f"{CBAR[1]}.npy", np.zeros((300, 32, 32, 3))), "holds float64 of shape"),
        (lambda folder: (folder / "labels.npy").unlink(), "holds no labels.npy"),
    ],
)
def test_an_archive_of_other_arrays_leaves_no_folder(published, few, bar, damage, words):
    damage(bar)
    _, served, root = published
    with tarfile.open(served / "c.tar", "w") as box:
        box.add(bar, bar.name)
    with pytest.raises(ValueError, match=words) as error:
        download_arrays(_official.ARCHIVES["cifar10"][0], few)
    one_line(error)
    assert [path.name for path in root.iterdir()] == ["c.tar"], (
        "the archive is kept: another data set may be the right one"
    )


def test_an_address_that_gives_no_archive(published, few):
    _, served, root = published
    (served / "c.tar").write_bytes(b"<html>not found</html>" * 99)
    with pytest.raises(ValueError, match="is no tar archive .*delete it, and look at the address") as error:
        download_arrays(_official.ARCHIVES["cifar10"][0], few)
    one_line(error)
    with pytest.raises(ValueError, match="names no tar archive"):
        download_arrays("https://example.org/arrays", few)
