import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robcomp._files.download import read_arrays
from robcomp import data as rooms
from robcomp._files import pictures
from robcomp._files.pictures import Pictures, read_picture
from robcomp.corruptions import Suite
from robcomp.evaluate import evaluate
from robcomp.models import model_from
from robcomp.steps import augment
from robcomp.training import Training, fit
from robcomp.data import (
    CIFAR_CONTRACT,
    Data,
    Images,
    InputContract,
    as_input,
    contract_of,
    from_folder,
    load,
    shuffled,
    split,
)

CIFAR = Path(os.environ.get("ROBCOMP_DATA", "/nowhere"))
needs_cifar = pytest.mark.skipif(not (CIFAR / "cifar-10-batches-py").is_dir(), reason="ROBCOMP_DATA holds no CIFAR-10")


def one_line(excinfo):
    assert "\n" not in str(excinfo.value)
    return str(excinfo.value)


@given(st.lists(st.integers(0, 4), min_size=10, max_size=200), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_split_is_a_partition_that_keeps_every_class_on_both_sides(labels, share, seed):
    labels = np.array(labels + [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    left, right = split(labels, share, seed=seed)
    assert sorted([*left, *right]) == list(range(len(labels)))
    assert set(labels[left]) == set(labels[right]) == set(labels)
    for label in set(labels):
        n = (labels == label).sum()
        assert abs((labels[right] == label).sum() - share * n) <= 1


@given(st.integers(0, 300), st.integers(0, 2**63))
@settings(max_examples=40, deadline=None)
def test_shuffled_is_a_permutation_that_depends_on_the_seed_alone(n, seed):
    assert sorted(shuffled(n, seed)) == list(range(n)) and (shuffled(n, seed) == shuffled(n, seed)).all()


def test_digits_do_not_change():
    data = load("digits")
    assert (len(data.train), len(data.calibration), len(data.test)) == (1438, 287, 359)
    assert hashlib.sha256(data.train.images.tobytes()).hexdigest()[:12] == "3bafb3e879af"
    assert hashlib.sha256(data.calibration.labels.tobytes()).hexdigest()[:12] == "1fe783056148"


@pytest.mark.parametrize("labels, classes", [([0, 2], ["a", "b"]), ([0, -1], ["a", "b"])])
def test_labels_outside_the_classes(labels, classes):
    part = Images(np.zeros((2, 4, 4, 3), np.uint8), labels)
    with pytest.raises(ValueError, match="labels 0 to 1"):
        Data("x", part, part, part, classes)


# augmentation against the slow and plain way


@pytest.mark.parametrize("flip", [True, False])
def test_augment_makes_reflect_padded_crops(flip):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    views = augment(images, torch.Generator().manual_seed(1), pad=3, flip=flip)
    mirrored = 0
    for image, view in zip(images, views):
        padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="reflect")
        crops = [padded[i : i + 16, j : j + 16] for i in range(7) for j in range(7)]
        straight = any((view == crop).all() for crop in crops)
        turned = any((view == crop[:, ::-1]).all() for crop in crops)
        assert straight or flip and turned
        mirrored += not straight
    assert 10 < mirrored < 30 if flip else mirrored == 0


def test_augment_takes_arrays_and_tensors_alike_and_leaves_them():
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    kept = images.copy()
    a = augment(images, torch.Generator().manual_seed(5))
    b = augment(torch.as_tensor(images), torch.Generator().manual_seed(5))
    assert isinstance(a, np.ndarray) and (a == b.numpy()).all() and (images == kept).all()
    assert (augment(images, torch.Generator().manual_seed(5), pad=0, flip=False) == images).all()


def test_as_input_takes_any_view_of_bytes():
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    images.setflags(write=False)
    x = as_input(images[::-2], CIFAR_CONTRACT)
    wanted = (images[::-2] - np.array(CIFAR_CONTRACT.mean)) / CIFAR_CONTRACT.std
    assert np.allclose(x.permute(0, 2, 3, 1), wanted, atol=1e-5)
    assert as_input(torch.as_tensor(images.copy()), CIFAR_CONTRACT, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_contract_of_is_mean_and_deviation_and_never_divides_by_zero():
    part = Images(np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), np.zeros(9))
    contract = contract_of(Data("x", part, part, part, ["a"]))
    assert np.allclose(contract.mean, part.images.mean((0, 1, 2)), atol=0.05)
    assert np.allclose(contract.std, part.images.std((0, 1, 2)), atol=0.05)
    grey = Images(np.full((2, 8, 8, 3), 7, np.uint8), [0, 0])
    assert contract_of(Data("x", grey, grey, grey, ["a"])).std == (1, 1, 1)


@pytest.mark.parametrize(
    "mean, std",
    [
        ((0, 0), (1, 1, 1)),
        ((0, 0, 0), (1, 0, 1)),
        ((0, 0, 0), (1, float("nan"), 1)),
        ((1e308,) * 3, (1,) * 3),
        ((0,) * 3, (1e-300, 1, 1)),
        ((0, -1e9, 0), (1,) * 3),
        ((0,) * 3, (1, 1, 1e9)),
        (None, (1,) * 3),
        ((0,) * 3, [[1], 2, 3]),
        ((0, "x", 0), (1,) * 3),
    ],
)
def test_contracts_that_cannot_be(mean, std):
    with pytest.raises(ValueError) as error:
        InputContract(32, mean, std)
    said = str(error.value)
    assert "a contract is a size, 3 means and 3 standard deviations" in said and "\n" not in said


def test_a_contract_for_values_from_0_to_1_is_noticed():
    with pytest.raises(ValueError, match="is in pixel units 0 to 255, .*: multiply them by 255") as error:
        InputContract(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert "\n" not in str(error.value)
    for mean, std in (((0, 0, 0), (1, 1, 1)), ((0, 0, 0), (0.5, 0.5, 0.5)), ((0.2, 0.1, 0.3), (1, 1, 1))):
        assert InputContract(32, mean, std).std == std


@pytest.mark.parametrize("size", [0, -8, 32.5, "32", True, None, 1 << 60, [32], float("nan")])
def test_sizes_that_cannot_be(tmp_path, size):
    said = "^a size is a whole number of pixels from 1 to 16,384, got"
    with pytest.raises(ValueError, match=said):
        InputContract(size, (0,) * 3, (1,) * 3)
    if size is None:
        return  # of a folder: the commonest
    with pytest.raises(ValueError, match=said):
        from_folder(fruit(tmp_path / "f"), size=size)


@pytest.mark.parametrize("share", ["half", None, [0.2], 0, 1, 7.5, float("nan")])
def test_shares_that_cannot_be(tmp_path, share):
    with pytest.raises(ValueError, match="a share between 0 and 1|to set aside is between 0 and 1"):
        from_folder(fruit(tmp_path / "f"), test=share)


# pictures


def fruit(folder, *, ending=".png", n=3, size=(40, 30)):
    for label, colour in dict(apple="red", pear="green").items():
        (folder / label).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (size[0] + i, size[1]), colour).save(folder / label / f"{i}{ending}")
    return folder


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I"])
def test_every_mode_of_picture(mode, tmp_path):
    deep = np.full((10, 10), 65535 // 2, np.uint16 if ";" in mode else np.int32)
    if mode.startswith("I"):
        image = Image.fromarray(deep)
    else:
        image = Image.new("RGB", (10, 10), (128, 128, 128)).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "LAB", "I;16") else "x.pgm" if mode == "I" else "x.png")
    image.save(path)
    pixels = read_picture(path, 8)
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    if mode != "1":
        assert abs(pixels.astype(int) - 128).max() <= (30 if mode == "P" else 3)


def test_transparency_is_laid_on_white(tmp_path):
    Image.new("RGBA", (9, 9), (255, 0, 0, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (9, 9), 0)
    palette.putpalette([255, 0, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert (read_picture(tmp_path / "a.png", 4) == 255).all() and (read_picture(tmp_path / "p.png", 4) == 255).all()


def test_upright_and_centred(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 255
    pixels[:10, 10:30, 0] = 0
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    small = read_picture(tmp_path / "x.png", 4)
    assert (small[0, :, 0] > 200).all() and (small[3, :, 0] < 60).all() and (small[..., 1] > 200).all()


def test_a_picture_too_large_is_named(tmp_path, monkeypatch):
    fruit(tmp_path / "f")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="apple/0.png' is too large: at most 1,000 pixels") as error:
        from_folder(tmp_path / "f")
    one_line(error)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="too large"):
        from_folder(tmp_path / "f")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".gif", ".bmp", ".webp"])
def test_a_cut_picture_is_named(ending, tmp_path):
    fruit(tmp_path / "f", ending=ending, size=(200, 150))
    path = tmp_path / "f" / "pear" / f"1{ending}"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=f"unreadable image .*pear/1{ending}") as error:
        from_folder(tmp_path / "f")
    one_line(error)


def test_folder_is_read_in_order_of_names_and_named_by_content(tmp_path):
    a, b = from_folder(fruit(tmp_path / "a" / "f")), from_folder(fruit(tmp_path / "b" / "f"))
    assert a.name == b.name and a.name.startswith("f-") and (a.train.images == b.train.images).all()
    for rest in ("notes.txt", ".hidden", "apple/Thumbs.db"):
        (tmp_path / "b" / "f" / rest).write_text("no picture")
    assert from_folder(tmp_path / "b" / "f").name == a.name
    assert from_folder(tmp_path / "b" / "f", size=16).name != a.name
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "b" / "f" / "apple" / "9.PNG")
    assert from_folder(tmp_path / "b" / "f").name != a.name


def test_train_and_test_folders_are_honoured(tmp_path):
    fruit(tmp_path / "train", n=5), fruit(tmp_path / "test", n=2)
    data = from_folder(tmp_path)
    assert len(data.train) == 10 and len(data.test) == 4 and data.classes == ["apple", "pear"]
    (tmp_path / "test" / "pear").rename(tmp_path / "test" / "plum")
    with pytest.raises(ValueError, match=r"differ in classes: \['pear', 'plum'\]"):
        from_folder(tmp_path)


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        from_folder(tmp_path / "nowhere")
    fruit(tmp_path / "one", n=1)
    with pytest.raises(ValueError, match="has 1 image: it takes 2"):
        from_folder(tmp_path / "one")
    (tmp_path / "one" / "empty").mkdir()
    with pytest.raises(ValueError, match="'.*one/empty' has no images"):
        from_folder(tmp_path / "one")


# official files


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/robcomp-was-here",)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Evil()), b"", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02}q", pickle.dumps(np.array([Evil()], object))],
)
def test_pickles_run_nothing(content):
    with pytest.raises(ValueError, match="not a pickle of arrays") as error:
        read_arrays(content)
    one_line(error)
    assert not Path("/tmp/robcomp-was-here").exists()


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """torchvision's CIFAR10 pointed at a tiny archive on this machine; yields the folder it is served from."""
    from torchvision.datasets import CIFAR10

    served, md5 = tmp_path / "served", lambda content: hashlib.md5(content).hexdigest()
    served.mkdir()
    pixels = lambda n: np.arange(n * 3072, dtype=np.uint64).astype(np.uint8).reshape(n, 3072)
    batch = lambda n: pickle.dumps(dict(data=pixels(n), labels=[i % 2 for i in range(n)]))
    files = {
        "data_batch_1": batch(20),
        "test_batch": batch(4),
        "batches.meta": pickle.dumps(dict(label_names=["cat", "dog"])),
    }
    with tarfile.open(served / "c.tar.gz", "w:gz") as box:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            box.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5(files["data_batch_1"])]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(files["test_batch"])]])
    meta = dict(filename="batches.meta", key="label_names", md5=md5(files["batches.meta"]))
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5((served / "c.tar.gz").read_bytes()))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *rest):
            super().__init__(*rest, directory=str(served))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/c.tar.gz")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield served
    server.shutdown()


def test_absent_files_are_fetched_once(tiny_cifar, tmp_path):
    root = tmp_path / "root"
    data = load("cifar10", root=root)
    assert len(data.train) == 20 and data.classes == ["cat", "dog"] and data.flip
    kept = sorted(path.name for path in root.rglob("*") if path.is_file())
    assert kept == ["batches.meta", "data_batch_1", "test_batch"]
    (tiny_cifar / "c.tar.gz").unlink()
    assert (load("cifar10", root=root).test.images == data.test.images).all()


def test_a_damaged_file_is_neither_opened_nor_replaced(tiny_cifar, tmp_path):
    load("cifar10", root=tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="damaged data file .*data_batch_1") as error:
        load("cifar10", root=tmp_path)
    one_line(error)
    assert path.read_bytes() == pickle.dumps(Evil()) and not Path("/tmp/robcomp-was-here").exists()


def test_a_damaged_archive_leaves_no_files(tiny_cifar, tmp_path):
    (tiny_cifar / "c.tar.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged data file .*c.tar.gz"):
        load("cifar10", root=tmp_path / "root")
    assert not list((tmp_path / "root").rglob("data_batch_1"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/cifar.tar.gz", "http://no-such-host.invalid/cifar.tar.gz"])
def test_no_network(url, tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", url)
    monkeypatch.setenv("no_proxy", "*")
    line = "cannot download .*without a network, put the official files in .* ROBCOMP_DATA"
    with pytest.raises(OSError, match=line) as error:
        load("cifar10", root=tmp_path)
    one_line(error)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@needs_cifar
def test_cifar10_as_published():
    data = load("cifar10")
    assert (len(data.train), len(data.calibration), len(data.test), data.size) == (50_000, 1_000, 10_000, 32)
    assert data.classes == ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert np.bincount(data.test.labels).tolist() == [1000] * 10 and data.test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert contract_of(data) == CIFAR_CONTRACT


def test_what_is_hidden_or_a_pipe_is_passed_over(tmp_path, capsys):
    """It makes no class, no picture and no size, and nobody waits for a pipe."""
    folder = fruit(tmp_path / "f")
    name, classes, size = (data := from_folder(folder)).name, data.classes, data.size
    for place in (folder / ".cache", folder / classes[0] / ".cache"):
        place.mkdir()
        for n in range(40):
            Image.new("RGB", (9, 9)).save(place / f"{n}.png")
    Image.new("RGB", (9, 9)).save(folder / classes[0] / "._photo.png")
    for n in range(40):
        Image.new("RGB", (9, 9)).save(folder / f"loose{n}.png")
    os.mkfifo(folder / classes[0] / "pipe.png")
    again = from_folder(folder)
    assert (again.name, again.classes, again.size) == (name, classes, size)


def test_pictures_below_the_folder_of_a_class_are_named(tmp_path):
    """They are no part of the format, and left out without a word they would be missed by nobody."""
    folder = fruit(tmp_path / "f")
    deep = folder / "pear" / "session 1" / "left"
    deep.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(deep / "x.PNG")
    with pytest.raises(
        ValueError,
        match="class folder '.*/f/pear' has images in a folder of its own, '.*left/x.PNG': "
        "put all images of a class right into its folder",
    ) as error:
        from_folder(folder)
    one_line(error)


@pytest.mark.parametrize("first, second", [("bin", "usr"), ("usr", "var")])
def test_a_folder_that_holds_no_classes_is_not_walked(first, second, tmp_path, monkeypatch):
    """As the root of a disk: it ends at the first folder without pictures, and looks at some names of that one only."""
    for name in (first, second):
        (tmp_path / name).mkdir()
    for n in range(300):
        (tmp_path / "usr" / str(n) / "deeper").mkdir(parents=True)
    seen, look = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda *given: seen.append(given) or look(*given))
    monkeypatch.setattr(pictures, "LOOKED_AT", 200, raising=False)
    with pytest.raises(ValueError, match=f"^class folder '.*/{first}' has no images ") as error:
        from_folder(tmp_path)
    one_line(error)
    assert len(seen) < 20


def test_a_loop_of_links_among_pictures_ends(tmp_path):
    folder = fruit(tmp_path / "f")
    (folder / "pear" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "pear" / "self.png").symlink_to("self.png")
    assert from_folder(folder).classes == ["apple", "pear"]


def test_a_directory_named_like_a_picture_is_passed_over(tmp_path):
    for name in "ab":
        (tmp_path / name / "d.png").mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(tmp_path / name / "x.png")
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / name / "y.png")
    assert len(from_folder(tmp_path, size=8, test=0.5).test) == 2


def test_sixteen_bits_keep_their_range(tmp_path):
    ramp = np.linspace(0, 65535, 16).astype(np.uint16)[None].repeat(16, 0)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        read = read_picture(tmp_path / name, 16)
        assert (
            read[0, 0].tolist() == [0] * 3
            and read[0, -1].tolist() == [255] * 3
            and abs(read[..., 0].astype(int) - ramp // 257).max() <= 1
        )


def write_png(path, pixels, bits, transparent):
    """A PNG of any depth, grey (h, w) or in colour (h, w, 3), one colour of which is transparent."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.unpackbits(pixels.astype(">u2").view(np.uint8).reshape(len(pixels), -1, 2), axis=2)[..., 16 - bits :]
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows.reshape(len(pixels), -1))
    head = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), bits, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    colour = np.atleast_1d(transparent).astype(">u2").tobytes()
    chunks = (b"IHDR", head), (b"tRNS", colour), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks))


@pytest.mark.parametrize("channels, bits", [(1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (3, 8), (3, 16)])
def test_a_transparent_colour_is_laid_on_white_at_every_depth(channels, bits, tmp_path):
    top = 2**bits - 1
    colour = np.array([top // 3, 0, top // 2])[:channels]
    pixels = np.full((8, 8, channels), top // 2 + 1)
    pixels[:, 4:] = colour
    write_png(tmp_path / "x.png", pixels.squeeze(2) if channels == 1 else pixels, bits, colour)
    read = read_picture(tmp_path / "x.png", 8)
    assert (read[:, 4:] == 255).all() and abs(read[:, :4].astype(int) - (top // 2 + 1) * 255 / top).max() <= 1


def write_tiff(path, levels, bits, meaning):
    """Grey levels of some bits, packed into bytes; meaning 0: white is zero, 1: black is."""
    packed = np.packbits([[int(bit) for level in row for bit in f"{level:0{bits}b}"] for row in levels], axis=1)
    content = levels.astype("<u2").tobytes() if bits == 16 else packed.tobytes()
    (height, width), place = levels.shape, 8 + 2 + 9 * 12 + 4
    fields = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: meaning,
        273: place,
        277: 1,
        278: height,
        279: len(content),
    }
    entries = b"".join(struct.pack("<HHII", name, 4, 1, value) for name, value in fields.items())
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, 9) + entries + bytes(4) + content)


@pytest.mark.parametrize(
    "bits, meaning",
    [(bits, meaning) for bits in (1, 2, 4, 8, 12, 16) for meaning in (0, 1) if (bits, meaning) != (12, 0)],
)  # no reader
def test_greys_of_every_depth_are_read_from_black_to_white(bits, meaning, tmp_path):
    top = 2**bits - 1
    grey = np.linspace(0, top, 64).round().astype(int).reshape(8, 8)
    write_tiff(tmp_path / "x.tif", grey if meaning else top - grey, bits, meaning)
    read = read_picture(tmp_path / "x.tif", 8)
    assert abs(read[..., 0] - grey * 255 / top).max() <= 1


@pytest.mark.parametrize(
    "bits, meaning, said",
    [(12, 0, "12 bits and white at zero"), (14, 1, "14 bits"), (10, 0, "10 bits and white at zero")],
)
def test_a_tiff_without_a_reader_is_named_by_its_kind(bits, meaning, said, tmp_path):
    write_tiff(tmp_path / "x.tif", np.zeros((8, 8), int), bits, meaning)
    match = f"^unreadable image .*there is no reader for a TIFF of {said} in its order of bytes: save it as PNG"
    with pytest.raises(ValueError, match=match):
        read_picture(tmp_path / "x.tif", 8)


@pytest.mark.parametrize("kind, said", [(np.int32, "whole numbers of 32 bits"), (np.float32, "floating-point pixels")])
@pytest.mark.parametrize("largest", [255, 65535, 2**31 - 1])
def test_pixels_of_unknown_range_are_one_line(kind, said, largest, tmp_path):
    Image.fromarray(np.linspace(0, largest, 256).reshape(16, 16).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"unreadable image .*{said}.* no known range.*: mend it") as error:
        read_picture(tmp_path / "a.tif", 8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_orientation_is_turned_upright(turn, tmp_path):
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4, :4, 0], upright[:4, 4:, 1], upright[4:, :4, 2] = 255, 255, 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png", 8), upright)


def test_what_becomes_of_pictures_that_are_not_square_is_said_and_done(tmp_path):
    """The middle of the longer side is kept, nothing is squeezed."""
    said = " ".join(from_folder.__doc__.split())
    for words in (
        "not square is cropped: the middle of its longer side is kept, nothing is squeezed",
        "EXIF orientation",
        "16-bit greys keep their range",
    ):
        assert words in said
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = np.arange(8)[None, :, None] * 30
    for label in "ab":
        (tmp_path / label).mkdir()
        for n in range(2):
            Image.fromarray(wide if n else wide.transpose(1, 0, 2).copy()).save(tmp_path / label / f"{n}.png")
    data = from_folder(tmp_path, size=8, test=0.5)
    middle = wide[:, 8:16]
    for image in (*data.train.images, *data.test.images):
        assert (image == middle).all() or (image == middle.transpose(1, 0, 2)).all()


def test_pictures_keep_their_commonest_size_and_one_line_says_so(tmp_path, capsys):
    for label, sides in dict(a=(64, 64, 64, 300), b=(64, 48, 48, 64)).items():
        (tmp_path / label).mkdir()
        for n, side in enumerate(sides):
            Image.new("RGB", (side + 9, side), "red").save(tmp_path / label / f"{n}.png")
    assert from_folder(tmp_path).size == 64 and "brought to 64 x 64" in capsys.readouterr().err
    assert from_folder(tmp_path, size=40).size == 40 and capsys.readouterr().err == ""
    for path in tmp_path.rglob("*.png"):
        Image.new("RGB", (900, 500), "red").save(path)
    assert from_folder(tmp_path).size == 224


# pictures that stay on the disk


@pytest.fixture
def noise_folder(tmp_path):
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (60, 72, 64, 3), dtype=np.uint8)):
        path = tmp_path / "noise" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "noise"


def small_net(data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (
            torch.nn.Conv2d(3, 4, 3, stride=4),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
        )
        return model_from(
            torch.nn.Sequential(*layers, torch.nn.Linear(16, 2)), name="net", classes=2, contract=contract_of(data)
        )


def test_on_disk_and_in_memory_are_the_same_data_set_to_the_bit(noise_folder):
    here, there = (from_folder(noise_folder, size=64, keep=keep) for keep in (True, False))
    assert (
        isinstance(there.test.images, Pictures) and isinstance(here.test.images, np.ndarray) and here.name == there.name
    )
    for part in ("train", "calibration", "test"):
        one, other = getattr(here, part), getattr(there, part)
        assert (one.images == other.images[:]).all() and (one.labels == other.labels).all()
    assert contract_of(here) == contract_of(there)
    nets = [small_net(data) for data in (here, there)]
    for net, data in zip(nets, (here, there)):
        fit(net, data, Training(1, batch=16, peak=0.1), progress=False)
    assert all(torch.equal(*pair) for pair in zip(*(net.state_dict().values() for net in nets)))
    suites = [Suite(data, corruptions=["gaussian_noise", "fog", "frost"], severities=[3]) for data in (here, there)]
    rows = [evaluate(dict(net=nets[0]), suite, batch=5, progress=False, device="cpu") for suite in suites]
    assert suites[0].text == suites[1].text and rows[0].equals(rows[1])


def test_no_more_than_a_block_of_pictures_is_held(noise_folder, monkeypatch):
    data, asked = from_folder(noise_folder, size=64, keep=False, test=0.8), []
    net, read = small_net(data), Pictures.__getitem__
    monkeypatch.setattr(
        rooms.Pictures, "__getitem__", lambda self, positions: asked.append(read(self, positions)) or asked[-1]
    )
    monkeypatch.setattr("robcomp.evaluate.BLOCK", 10 * 64 * 64 * 3)
    rows = evaluate(
        dict(net=net),
        Suite(data, corruptions=["contrast"], severities=[1], adapt=True),
        batch=5,
        progress=False,
        device="cpu",
    )
    # the first 32 are seen once, to choose the engine
    assert len(data.test) == 48 == rows.n.iloc[0] and max(len(part) for part in asked[2:]) == 10


def test_pictures_are_indexed_like_an_array(noise_folder):
    files = sorted(noise_folder.rglob("*.png"))
    pictures = Pictures(files, 32)
    whole = np.asarray(pictures)
    assert pictures.shape == whole.shape == (60, 32, 32, 3) and pictures.dtype == whole.dtype == np.uint8
    for positions in (
        3,
        -1,
        slice(2, 9, 3),
        slice(5, 5),
        [4, 4, 0],
        np.array([], int),
        np.arange(60) % 7 == 0,
        torch.tensor([1, 2]),
    ):
        assert np.array_equal(
            pictures[positions], whole[np.asarray(positions) if not isinstance(positions, (int, slice)) else positions]
        )
    assert np.array_equal(pictures.take([5, 2]).take([1])[:], whole[[2]]) and np.array_equal(
        pickle.loads(pickle.dumps(pictures))[7], whole[7]
    )
    with pytest.raises(IndexError, match="pictures are read whole"):
        pictures[..., 0]


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: Image.new("RGB", (8, 8)).save(path)])
def test_a_picture_that_changed_after_its_folder_was_read_is_named(noise_folder, change):
    pictures = Pictures(sorted(noise_folder.rglob("*.png")), 32)
    change(Path(pictures.files[4]))
    with pytest.raises(ValueError, match="has changed or gone since its folder was read") as error:
        pictures[3:6]
    one_line(error)


# CIFAR-10.1


def test_new_test_images_are_fetched_checked_and_judged_by_their_own_labels(tiny_cifar, tmp_path, monkeypatch):
    images, labels = (
        np.random.default_rng(2).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
        np.array([0, 1, 1, 0, 1, 0], np.int32),
    )
    for name, array in dict(data=images, labels=labels).items():
        np.save(tiny_cifar / f"cifar10.1_v6_{name}.npy", array)
    md5 = {name: hashlib.md5((tiny_cifar / name).read_bytes()).hexdigest() for name in rooms.NEW_TEST_MD5}
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(rooms, "NEW_TEST", CIFAR10.url.rpartition("/")[0] + "/")
    with pytest.raises(
        ValueError, match="what http://127.0.0.1.*cifar10.1_v6_data.npy gave is not the official file"
    ) as error:
        load("cifar10.1", root=tmp_path / "root")
    one_line(error)
    assert not [path for path in (tmp_path / "root" / "CIFAR-10.1").iterdir()]
    monkeypatch.setattr(rooms, "NEW_TEST_MD5", md5)
    data = load("cifar10.1", root=tmp_path / "root")
    assert (
        data.name == "cifar10.1"
        and (data.test.images == images).all()
        and (data.test.labels == labels).all()
        and len(data.train) == 20
    )
    for path in tiny_cifar.iterdir():
        path.unlink()
    assert (load("cifar10.1", root=tmp_path / "root").test.images == images).all()
    (tmp_path / "root" / "CIFAR-10.1" / "cifar10.1_v6_labels.npy").write_bytes(b"?")
    with pytest.raises(ValueError, match="damaged data file .*labels.npy"):
        load("cifar10.1", root=tmp_path / "root")


def test_a_picture_that_another_program_would_read_is_refused(tmp_path):
    from robcomp._files.pictures import read_picture

    path = tmp_path / "drawing.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError) as error:
        read_picture(path, 8)
    assert "\n" not in str(error.value) and "drawing.png" in str(error.value)


@pytest.mark.parametrize("labels", [[0.5, 1.5], ["a", "b"], [np.nan, 1], [True, False], [2**70, 1], [1j, 2]])
def test_labels_that_are_no_whole_numbers_are_one_line(labels):
    """Cut off, 1.5 would be another class."""
    with pytest.raises(ValueError, match="^labels are whole numbers, positions in the list of classes, got ") as error:
        Images(np.zeros((2, 8, 8, 3), np.uint8), labels)
    one_line(error)
    assert Images(np.zeros((2, 8, 8, 3), np.uint8), [0.0, 1.0]).labels.dtype == np.int64
