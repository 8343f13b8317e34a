"""Glass, fog, motion, snow, frost, elastic and spatter against slow transcriptions of their definitions."""

import os
import sys
from math import ceil, cos, exp, hypot, radians, sin

import numba
import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter, label, map_coordinates, zoom

from robcomp._corruptions import draws
from robcomp._corruptions import frost_pictures as _frost
from robcomp._corruptions import glass as _glass
from robcomp._corruptions import snow as _snow
from robcomp._corruptions import spatter as _spatter
from robcomp._corruptions import weather as _weather
from robcomp.schema import CORRUPTIONS

NAMES = "glass_blur", "fog", "motion_blur", "snow", "frost", "elastic_transform", "spatter"
SEVERITIES = range(1, 6)
float32 = np.float32


@pytest.fixture(scope="module")
def images():
    """Six images: smooth colour, edges, noise, black, white and one grey value."""
    random = np.random.default_rng(7)
    smooth = gaussian_filter(random.normal(size=(3, 32, 32, 3)), (0, 4, 4, 0)) * 400 + 128
    smooth[1] = np.where(smooth[1] > 128, 220, 30)
    smooth[2] += random.normal(size=(32, 32, 3)) * 40
    flat = np.ones((3, 32, 32, 3)) * np.array([0, 255, 93])[:, None, None, None]
    return np.concatenate([smooth, flat]).clip(0, 255).astype(np.uint8)


def stored(x):
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------------- the definitions


def glass_blur(x, row, severity):
    size, (sigma, reach, rounds) = (
        len(x),
        {
            32: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
            224: [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
        }[len(x)][severity - 1],
    )
    x = stored(gaussian_filter(x / 255.0, (sigma, sigma, 0), mode="nearest"))
    offsets = iter(np.floor(row * 2 * reach).astype(int) - reach)
    for _ in range(rounds):
        for y in range(size - reach, reach, -1):
            for column in range(size - reach, reach, -1):
                across, down = next(offsets), next(offsets)
                x[y, column] = x[y + down, column + across]
    return stored(gaussian_filter(x / 255.0, (sigma, sigma, 0), mode="nearest"))


def fog(x, row, severity):
    amount, decay = {
        32: [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
        224: [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    }[len(x)][severity - 1]
    side = {32: 32, 224: 256}[len(x)]
    height, noise, wibble, step = {(0, 0): 0.0}, iter(row), 100.0, side
    at = lambda y, column: height[y % side, column % side]
    mean = lambda a, b, c, d: ((a + b) + (c + d)) / 4 + wibble * (-wibble + 2 * wibble * next(noise))
    while step > 1:
        half, grid = step // 2, [(y, z) for y in range(0, side, step) for z in range(0, side, step)]
        for y, z in grid:
            height[y + half, z + half] = mean(at(y, z), at(y + step, z), at(y, z + step), at(y + step, z + step))
        for y, z in grid:
            height[y, z + half] = mean(at(y + half, z + half), at(y - half, z + half), at(y, z), at(y, z + step))
        for y, z in grid:
            height[y + half, z] = mean(at(y + half, z + half), at(y + half, z - half), at(y, z), at(y + step, z))
        step, wibble = half, wibble / decay
    plasma = np.array([[height[y, z] for z in range(side)] for y in range(side)])
    plasma = ((plasma - plasma.min()) / (plasma - plasma.min()).max())[: len(x), : len(x)]
    x = x / 255.0
    return stored((x + amount * plasma[..., None]) * x.max() / (x.max() + amount))


def streak(x, radius, sigma, degrees):
    """Motion blur of 8-bit levels: whole-pixel taps, the edge repeated, 16 bits rounded and then cut to 8."""
    taps = [exp(-k * k / (2 * sigma**2)) for k in range(2 * ceil(radius) + 1)]
    n, total, line = len(taps), np.zeros(x.shape), np.arange(len(x))
    along, down = n * cos(radians(degrees)), n * sin(radians(degrees))
    for k, tap in enumerate(taps):
        right, below = (ceil(k * way / hypot(along, down) - 0.5) for way in (along, down))
        total += tap / sum(taps) * 257 * x[(line + below).clip(0, line[-1])][:, (line + right).clip(0, line[-1])]
    return np.floor(total + 0.5) // 257


def motion_blur(x, row, severity):
    radius, sigma = {
        32: [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
        224: [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    }[len(x)][severity - 1]
    return streak(x, radius, sigma, -45 + 90 * row[0]).astype(np.uint8)


def snow(x, row, severity, constants=()):
    mean, deviation, factor, threshold, radius, sigma, colour = (
        constants
        or {
            32: [
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ],
            224: [
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ],
        }[len(x)][severity - 1]
    )
    size = len(x)
    kept = ceil(size / factor)
    start = (size - kept) // 2
    layer = (mean + deviation * row[:-1]).reshape(size, size)[start : start + kept, start : start + kept]
    layer = zoom(layer, factor, order=1)
    start = (len(layer) - size) // 2
    layer = layer[start : start + size, start : start + size]
    layer = streak(stored(np.where(layer < threshold, 0, layer)), radius, sigma, -135 + 90 * row[-1]) / 255.0
    x = x.astype(float32) / float32(255)
    exact = x.astype(float)
    grey = (exact[..., 0] * float32(0.299) + x[..., 1] * float32(0.587)).astype(float32)
    grey = (exact[..., 2] * float32(0.114) + grey).astype(float32)[..., None]
    x = float32(colour) * x + float32(1 - colour) * np.maximum(x, grey * float32(1.5) + float32(0.5))
    return stored(x + layer[..., None] + layer[::-1, ::-1, None])


def frost(x, row, severity, pictures):
    kept, added = {
        32: [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
        224: [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    }[len(x)][severity - 1]
    size = len(x)
    picture = pictures[int(row[0] * len(pictures))]
    top, left = int(row[1] * (picture.shape[0] - size)), int(row[2] * (picture.shape[1] - size))
    return np.clip(kept * x + added * picture[top : top + size, left : left + size], 0, 255).astype(np.uint8)


def elastic_transform(x, row, severity):
    size, (reach, sigma, shift) = (
        len(x),
        {
            32: [(0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)],
            224: [(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)],
        }[len(x)][severity - 1],
    )
    near, far = size // 2 - size // 3, size // 2 + size // 3
    before = np.array([[far, far], [far, near], [near, near]], float32)
    after = before + (-shift + 2 * shift * row[:6]).reshape(3, 2).astype(float32)
    there = np.linalg.solve(np.c_[before, np.ones(3)].astype(float), after.astype(float)).T
    back = np.linalg.inv(np.vstack([there, [0, 0, 1]]))[:2]
    y, z = np.mgrid[:size, :size]
    places = [
        (np.rint((slope * y + start) * 1024) + np.rint(other * z * 1024) + 16).astype(int) >> 5
        for other, slope, start in back[::-1]
    ]
    (top, below), (left, right) = [(p >> 5, (p & 31).astype(float32)[..., None] / float32(32)) for p in places]
    around = np.pad(x.astype(float32) / float32(255), ((size - 1,) * 2, (size - 1,) * 2, (0, 0)), mode="reflect")
    at = lambda p, q: around[tuple(part.clip(1 - size, 2 * size - 2) + size - 1 for part in (p, q))]
    warped = (
        at(top, left) * ((1 - below) * (1 - right))
        + at(top, left + 1) * ((1 - below) * right)
        + at(top + 1, left) * (below * (1 - right))
        + at(top + 1, left + 1) * (below * right)
    )
    across, down = (
        (gaussian_filter(noise, sigma, mode="reflect", truncate=3) * reach).astype(float32)
        for noise in -1 + 2 * row[6:].reshape(2, size, size)
    )
    moved = [map_coordinates(warped[..., c], [y + down, z + across], order=1, mode="reflect") for c in range(3)]
    return (np.clip(np.stack(moved, -1), 0, 1) * float32(255)).astype(np.uint8)


def canny(level, low, high):
    smooth, difference, level = np.array([1, 2, 1]), np.array([-1, 0, 1]), level.astype(int)
    across = correlate(level, np.outer(smooth, difference), mode="nearest")
    down = correlate(level, np.outer(difference, smooth), mode="nearest")
    slope = abs(across) + abs(down)
    framed, peak = np.pad(slope, 1), np.zeros(slope.shape, bool)
    for y, x in zip(*np.nonzero(slope > low)):
        a, d = across[y, x], down[y, x]
        if abs(d) * 32768 < abs(a) * 13573:
            (p, q), strict = ((0, -1), (0, 1)), False
        elif abs(d) * 32768 > abs(a) * (13573 + 65536):
            (p, q), strict = ((-1, 0), (1, 0)), False
        else:
            (p, q), strict = (((-1, 1), (1, -1)) if (a < 0) != (d < 0) else ((-1, -1), (1, 1))), True
        one, other = framed[y + 1 + p[0], x + 1 + p[1]], framed[y + 1 + q[0], x + 1 + q[1]]
        peak[y, x] = slope[y, x] > one and (slope[y, x] > other or (not strict and slope[y, x] == other))
    pieces, _ = label(peak, np.ones((3, 3)))
    return np.isin(pieces, np.unique(pieces[peak & (slope > high)])) & peak


def chamfer(edge):
    cost = {1: float32(1), 2: float32(1.4), 5: float32(2.1969)}
    steps = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if y * y + x * x in cost]
    far = np.pad(np.where(edge, 0, 1000).astype(float32), 2, constant_values=1000)
    end = len(far) - 2
    while True:
        reached = far.copy()
        for y, x in steps:
            reached[2:end, 2:end] = np.minimum(
                reached[2:end, 2:end], far[2 + y : end + y, 2 + x : end + x] + cost[y * y + x * x]
            )
        if (reached == far).all():
            return far[2:end, 2:end]
        far = reached


def spatter(x, row, severity):
    mean, deviation, sigma, threshold, last = {
        32: [
            (0.62, 0.1, 0.7, 0.7, 0.5),
            (0.65, 0.1, 0.8, 0.7, 0.5),
            (0.65, 0.3, 1, 0.69, 0.5),
            (0.65, 0.1, 0.7, 0.69, 0.6),
            (0.65, 0.1, 0.5, 0.68, 0.6),
        ],
        224: [
            (0.65, 0.3, 4, 0.69, 0.6),
            (0.65, 0.3, 3, 0.68, 0.6),
            (0.65, 0.3, 2, 0.68, 0.5),
            (0.65, 0.3, 1, 0.65, 1.5),
            (0.67, 0.4, 1, 0.65, 1.5),
        ],
    }[len(x)][severity - 1]
    x = x.astype(float32) / float32(255)
    liquid = gaussian_filter((mean + deviation * row).reshape(x.shape[:2]), sigma, mode="nearest")
    if severity > 3:
        share = gaussian_filter((liquid > threshold).astype(float32), last, mode="nearest")[..., None]
        share[share < float32(0.8)] = 0
        x = x * (1 - share) + np.array([63, 42, 20] / float32(255) * np.ones(3), float32) * share
        return (np.clip(x, 0, 1) * float32(255)).astype(np.uint8)
    level = (np.where(liquid < threshold, 0, liquid) * 255).astype(int) % 256
    box = lambda a: correlate(a, np.ones((3, 3), a.dtype), mode="mirror")
    grey = (box(np.minimum(chamfer(canny(level, 50, 150)), 20).astype(float)) / 9).astype(float32).astype(int)
    counts = np.bincount(grey.ravel(), minlength=256)
    lowest = grey.min()
    if counts[lowest] < grey.size:
        counts[lowest] = 0
        grey = np.rint(np.cumsum(counts).astype(float32) * (float32(255) / float32(counts.sum()))).astype(int)[grey]
    relief = correlate(grey, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror").clip(0, 255)
    mass = (level * np.rint(box(relief) / 9)).astype(float32)[..., None]
    x = x + mass / mass.max() * float32(last) * np.array([175 / 255, 238 / 255, 238 / 255], float32)
    return (np.clip(x, 0, 1) * float32(255)).astype(np.uint8)


def arithmetic(name):
    """The half of a corruption that is fed its draws."""
    return getattr(sys.modules[getattr(_weather, name).__module__], "_" + name)


def fed(name, n, severity, random, strengths="cifar"):
    """Standard draws for n images."""
    size, side = dict(cifar=(32, 32), imagenet=(224, 256))[strengths]
    if name == "glass_blur":
        return random.random((n, _glass._glass_draws(severity, size, strengths)))
    if name == "snow":
        return np.hstack([random.standard_normal((n, size**2)), random.random((n, 1))])
    if name == "spatter":
        return random.standard_normal((n, size**2))
    return random.random((n, dict(fog=side**2 - 1, motion_blur=1, frost=3, elastic_transform=6 + 2 * size**2)[name]))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_same_draws_same_pixels(images, name, severity):
    more = (_frost.pictures("own"),) if name == "frost" else ()
    rows = fed(name, len(images), severity, np.random.default_rng(severity))
    made = arithmetic(name)(images, rows, severity, *more)
    for image, row, got in zip(images, rows, made):
        np.testing.assert_array_equal(got, globals()[name](image, row, severity, *more))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_same_draws_same_pixels_with_the_constants_for_224(images, name, severity):
    large = np.asarray(zoom(images[1].astype(float), (7, 7, 1), order=1).clip(0, 255), np.uint8)
    more = (_frost.pictures("own", 224, "imagenet"),) if name == "frost" else ()
    rows = fed(name, 1, severity, np.random.default_rng(severity), "imagenet")
    made = arithmetic(name)(large[None], rows, severity, *more, "imagenet")[0]
    wanted = globals()[name](large, rows[0], severity, *more)
    np.testing.assert_array_equal(made, wanted)
    assert (made != large).mean() > 0.01


# ------------------------------------------------------------------------------------------------ draws and batches


@pytest.mark.parametrize("name", NAMES)
def test_an_image_knows_nothing_of_its_batch(images, name):
    make, numbers = getattr(_weather, name), np.array([3, 1000, 7, 12, 0, 5])
    whole = make(images, 4, 11, numbers)
    order = np.array([4, 1, 2])
    np.testing.assert_array_equal(make(images[order], 4, 11, numbers[order]), whole[order])
    many = np.concatenate([images] * 60)
    np.testing.assert_array_equal(make(many, 4, 11, np.tile(numbers, 60))[-6:], whole)
    assert (make(images, 4, 12, numbers) != whole).any() and (make(images, 4, 11, numbers + 1) != whole).any()
    assert make(images[:0], 4, 11, numbers[:0]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("name", NAMES)
def test_threads_change_nothing(images, name, monkeypatch):
    many, made = np.concatenate([images] * 10), []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        made.append(getattr(_weather, name)(many, 3, 0, np.arange(len(many))))
    np.testing.assert_array_equal(*made)


def test_read_only_and_strided_batches(images):
    frozen = images.copy()
    frozen.flags.writeable = False
    numbers = np.arange(6)
    whole = _weather.fog(images, 2, 0, numbers)
    np.testing.assert_array_equal(_weather.fog(frozen, 2, 0, numbers), whole)
    np.testing.assert_array_equal(_weather.fog(images[::2], 2, 0, numbers[::2]), whole[::2])


def test_draws_keep_their_meaning():
    assert draws.CORRUPTION.keys() == set(CORRUPTIONS) and len(set(draws.CORRUPTION.values())) == 19
    assert draws.word(0, 1, 1, 0, 0) == 4814374541660462225
    assert draws.word(5, 8, 3, 99, 1023) == 18124829729016779335
    np.testing.assert_array_equal(
        draws.uniforms(3, "fog", 2, np.array([4]), 9, start=1), draws.uniforms(3, "fog", 2, np.array([4]), 10)[:, 1:]
    )
    assert draws.normals(3, "snow", 2, np.array([4]), 1)[0, 0] == draws.normal(3, draws.CORRUPTION["snow"], 2, 4, 0)


def test_draws_are_standard():
    uniforms, normals = (draw(0, "fog", 1, np.arange(200), 1000) for draw in (draws.uniforms, draws.normals))
    counts = np.bincount((uniforms * 64).astype(int).ravel())
    assert ((counts - 3125) ** 2 / 3125).sum() < 110
    assert abs(normals.mean()) < 0.01 and abs(normals.std() - 1) < 0.01 and abs((normals**4).mean() - 3) < 0.05
    between = np.corrcoef(uniforms)[np.triu_indices(200, 1)]
    assert abs(between).max() < 0.2 and abs(np.corrcoef(uniforms[:, 1:].ravel(), uniforms[:, :-1].ravel())[0, 1]) < 0.01


# ------------------------------------------------------------------------------------------------- sizes and edges


@pytest.mark.parametrize("size", [8, 16, 24, 28, 31, 33, 48])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_flakes_of_other_sizes_are_those_of_scipy(size, severity):
    """The lines that the kernel reads and weighs, against scipy's zoom of the flakes; none is outside the picture."""
    factor = max(_snow._SNOW["cifar"][severity - 1][2] * size / 32, 1)
    flakes = np.random.default_rng(size).standard_normal((size, size))
    kept = ceil(size / factor)
    start = (size - kept) // 2
    wanted = zoom(flakes[start : start + kept, start : start + kept], factor, order=1)
    start = (len(wanted) - size) // 2
    first, near, far = _snow._zoomed(size, factor)
    assert first.min() >= 0 and first.max() < size - 1 and len(first) == size
    lines = near[:, None] * flakes[first] + far[:, None] * flakes[first + 1]
    np.testing.assert_allclose(
        near * lines[:, first] + far * lines[:, first + 1],
        wanted[start : start + size, start : start + size],
        atol=1e-12,
    )


@pytest.mark.parametrize("size", [8, 16, 24, 28, 31])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_on_small_pictures(size, severity):
    """The arithmetic in plain NumPy and SciPy, constants in pixels times size / 32, no flake smaller than a pixel."""
    rng = np.random.default_rng(severity)
    image, row = (
        rng.integers(0, 256, (size, size, 3)).astype(np.uint8),
        np.append(rng.standard_normal(size**2), rng.random()),
    )
    mean, deviation, factor, threshold, radius, sigma, colour = _snow._SNOW["cifar"][severity - 1]
    wanted = snow(
        image,
        row,
        severity,
        (mean, deviation, max(factor * size / 32, 1), threshold, radius * size / 32, sigma * size / 32, colour),
    )
    made = _snow._snow(image[None], row[None], severity)[0]
    np.testing.assert_array_equal(made, wanted)
    assert (made == _snow._snow(image[None].repeat(3, 0), row[None].repeat(3, 0), severity)).all(), (
        "something outside the picture was read"
    )


@pytest.mark.parametrize("size", [8, 16, 31, 48, 64])
@pytest.mark.parametrize("name", NAMES)
def test_other_sizes(name, size):
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.uint8)
    for severity in (1, 5):
        made = getattr(_weather, name)(images, severity, 0, np.arange(3))
        assert made.shape == images.shape and made.dtype == np.uint8 and (made != images).any()


def test_sizes_refused():
    for shape in ((1, 4, 4, 3), (1, 32, 16, 3), (1, 513, 513, 3)):
        with pytest.raises(ValueError, match="only squares of 8 to 512 pixels"):
            _weather.fog(np.zeros(shape, np.uint8), 1, 0, np.arange(1))


def test_no_drop_turns_an_image_black(images):
    assert not _spatter._spatter(images[:1], np.zeros((1, 1024)), 1).any()


# ---------------------------------------------------------------------------------------------------------- frost


def test_own_frost_has_the_measured_light():
    own = _frost.pictures("own")
    assert [picture.shape for picture in own] == [(128, 192, 3)] * 5 and own[1] is own[2]
    for picture, (quantiles, _, _) in zip((own[0], own[1], own[3], own[4]), _frost._MEASURED):
        light = picture.mean(2)
        np.testing.assert_allclose(np.percentile(light, [5, 25, 50, 75, 95]), quantiles[2:7], atol=8)
    np.testing.assert_allclose([picture.mean() for picture in own], [130.9, 205.95, 205.95, 152.8, 123.74], atol=0.01)


def test_frost_out_of_a_folder(tmp_path, images):
    Image = pytest.importorskip("PIL.Image")
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (taken,) = _frost.pictures(tmp_path)
    np.testing.assert_array_equal(taken, picture[2::5, 2::5])
    assert _weather.frost(images, 1, 0, np.arange(6), pictures=tmp_path).shape == images.shape
    with pytest.raises(ValueError, match="take a larger picture"):
        Image.fromarray(picture[:90]).save(tmp_path / "b.png")
        _frost.pictures(str(tmp_path))


def test_frost_pictures_that_are_none(tmp_path):
    """A pipe is not waited for, and whatever a decoder raises is one line."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ValueError, match="a folder with pictures"):
        _frost.pictures(str(tmp_path), 32)
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(ValueError, match="c.png cannot be read .*: mend it or take it out$") as error:
        _frost.pictures(str(tmp_path), 32)
    assert "\n" not in str(error.value)


def test_frost_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='allowed are "own", "imagecorruptions" or a folder'):
        _frost.pictures("ice")
    monkeypatch.setattr(_frost, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"robcomp\[corruptions\]"):
        _frost.pictures("imagecorruptions", 33)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read"):
        _frost.pictures(tmp_path, 34)


def test_official_frost_pictures():
    pytest.importorskip("PIL.Image")
    if _frost.find_spec("imagecorruptions") is None:
        pytest.skip("imagecorruptions is not installed")
    shapes = [picture.shape[:2] for picture in _frost.pictures("imagecorruptions")]
    assert shapes == [(120, 180), (63, 112), (63, 112), (70, 105), (99, 132)]
