"""What the header of a packed file says, held against what a writer would have written, before a single weight is
decoded.

Types, ranges, names, the list of sections and the work that decoding would take: whoever reads a file knows from here
on that it costs no more than an honest one of its length may. The writer passes the same gate, so nothing is written
that is not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from robcomp._packing.coder import depth_of
from robcomp._packing.container import VERSION, Section, parts_of
from robcomp._compression.state import grid_limit
from robcomp.data import InputContract
from robcomp.recipe import Cluster, Half, Prune, Quantize, Recipe, parse
from robcomp.schema import canonical

WORK, WORK_A_BYTE = 1 << 22, 2048  # decisions of the range coders: a start, and as many again a byte of the file
SLOWER = 4  # a decision in context takes that many times the time
SYMBOL = 2  # bytes that each symbol is decoded to
LONGEST_NAME = 300
MOST_CLASSES = 1 << 24
NUMBERS = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
IN_CONTEXT = ":contexts"  # added to a section's kind
IN_HALF = ":half"  # as well: floats in two bytes each
CODED = ("codes", "mask", "integers")
HEADER = {"arch", "classes", "contract", "recipe", "layers", "tensors", "ranged"}
PLAIN = {"name", "shape", "form", "mask"}
STATE = PLAIN | {"bits", "scale", "state"}
CODES = STATE | {"k", "clusters", "wide"}


def check_header(header: Mapping, sections: Sequence[Section], size: int) -> Budget:
    """A line of error for a header that no writer writes above these sections, in a file of `size` bytes; else what is
    left to decode the weights behind masks, of which the header does not tell how many there are."""
    _require(
        set(header) - {"sections", "origin", "version"} == HEADER, "its header has other entries than a writer gives it"
    )
    _require(_name(header["arch"]) and header["arch"], "its header names no architecture")
    classes, origin = header["classes"], header.get("origin", "0")
    _require(
        type(classes) is int and 0 < classes <= MOST_CLASSES,
        f"a network has 1 to {MOST_CLASSES:,} classes, its header says {_cut(classes)}",
    )
    _require(_name(origin) and origin, "the origin in its header is no text")
    _check_contract(header["contract"])
    recipe = _recipe_of(header["recipe"])
    for part in ("layers", "tensors", "ranged"):
        _require(isinstance(header[part], list), f"{part} in its header is no list")
    for entry in header["layers"]:
        check_entry(entry, header.get("version", VERSION))
    check_recipe_fits(recipe, header["layers"], header["ranged"])
    names = [entry["name"] for entry in header["layers"]]
    _require(len(set(names)) == len(names), "its header lists a layer twice")
    ranged = header["ranged"]
    listed = set(map(str, ranged))
    _require(
        all(_name(name) for name in ranged) and ranged == [name for name in names if name in listed],
        "its header rounds the input of layers that it does not list, or not in their order",
    )
    _check_tensors(header["tensors"])
    _check_sections(header, sections)
    budget, parts = Budget(size), parts_of(sections)
    budget.take(sum(steps_before_values(entry, parts[entry["name"]]) for entry in header["layers"]))
    budget.take(_steps_of_tensors(header["tensors"], parts))
    return budget


def check_entry(entry: Mapping, version: int = VERSION) -> None:
    """A line of error for a layer that no writer of this version of the format writes."""
    _require(
        isinstance(entry, dict) and _name(entry.get("name")), "a layer in its header has no name that can be printed"
    )
    said, form, mask = f"layer {entry['name']}", entry.get("form"), entry.get("mask")
    _require(
        form in ("float", "grid", "codes") and type(mask) is bool,
        f"{said} has the form {_cut(form)} and the mask {_cut(mask)}",
    )
    _require(
        _shape(entry.get("shape"), 1) and len(entry["shape"]) > 1, f"{said} has the shape {_cut(entry.get('shape'))}"
    )
    if set(entry) == PLAIN and form == "float" and not mask:
        return
    _require(
        set(entry) - {"own", "half"} == (CODES if form == "codes" else STATE)
        and ("own" in entry or form != "codes" or version <= 2)
        and ("own" not in entry or form == "codes")
        and ("half" not in entry or entry["half"] is True and version > 2),
        f"{said} has other entries than a layer of the form {form}",
    )
    bits, scale = entry["bits"], entry["scale"]
    _require(
        entry["state"] is True and type(scale) is bool and type(bits) is int and bits in (0, *range(2, 9)),
        f"{said} has {_cut(bits)} bits and the scale {_cut(scale)}",
    )
    _require(
        scale == bool(bits) and (bool(bits) if form == "grid" else form == "codes" or not bits),
        f"{said} has the form {form} with {bits} bits and the scale {scale}",
    )
    if form != "codes":
        return
    k, clusters, wide, own = entry["k"], entry["clusters"], entry["wide"], entry.get("own", False)
    _require(
        type(k) is int and 0 < k <= 1 << 15 and type(clusters) is int and (clusters == 0 or k <= clusters <= 1 << 15),
        f"{said} has {_cut(k)} codes where {_cut(clusters)} were promised",
    )
    _require(
        type(own) is bool and wide is ((clusters or k) > 256),
        f"{said} has codes of another width than {clusters or k} values take",
    )


def check_recipe_fits(recipe: Recipe, entries: Sequence[Mapping], ranged: Sequence[str]) -> None:
    """A line of error where layers have a form that no stage of the recipe gives, or none has what a stage gives."""
    prunes, clusters, grids = (_stages(recipe, kind) for kind in (Prune, Cluster, Quantize))
    widths = {bits for stage in grids for bits in (stage.widths if stage.scope == "auto" else (stage.bits,))}
    shared, own = {stage.k for stage in clusters}, any(stage.scope == "channel" for stage in clusters)
    halves = bool(_stages(recipe, Half))
    zeros = any(stage.scope != "channel" for stage in prunes)
    for entry in entries:
        codes, clusters_of, bits = entry["form"] == "codes", entry.get("clusters"), entry.get("bits")
        made = (
            (entry["mask"], zeros, "zeros that are kept"),
            (codes, clusters_of in shared, f"{clusters_of} shared values"),
            (codes and entry.get("own"), own, "shared values of each channel"),
            (bits, bits in widths, f"grid of {bits} bits"),
            (entry.get("half"), halves, "half precision"),
            (entry.get("state"), prunes or clusters or grids or halves, "form of its own"),
        )
        for has, said, what in made:
            if has and not said:
                raise ValueError(f"its recipe {recipe} gives layer {entry['name']} no {what}"[:250])
    rounds = [stage.rounds_inputs for stage in grids]
    _require(not ranged or any(rounds), f"its recipe {recipe} rounds no input")
    _require(ranged or not rounds or not rounds[-1], f"its recipe {recipe} rounds inputs, none of its layers does")
    gridded, among = {entry["name"] for entry in entries if entry.get("bits")}, set(map(str, ranged))
    _require(among <= gridded, "its header rounds the input of a layer that is on no grid")
    _require(
        not clusters or any(entry["form"] == "codes" for entry in entries),
        f"its recipe {recipe} clusters, none of its layers is clustered",
    )
    lasting = any(stage.scope not in ("channel", "gradual") for stage in prunes)
    _require(
        not lasting or any(entry.get("state") for entry in entries),
        f"its recipe {recipe} prunes, none of its layers is pruned",
    )
    least = min((prod(entry["shape"]) for entry in entries), default=0)
    _require(
        any(entry["mask"] for entry in entries)
        or not any(_leaves_zeros(recipe, place, least) for place in range(len(recipe))),
        f"its recipe {recipe} keeps zeros, none of its layers does",
    )
    _require(
        not halves or any(entry.get("half") for entry in entries),
        f"its recipe {recipe} halves, none of its layers is in half precision",
    )
    _require(
        not grids or any(entry.get("bits") for entry in entries),
        f"its recipe {recipe} quantizes, none of its layers is on a grid",
    )


def _leaves_zeros(recipe: Recipe, place: int, least: int) -> bool:
    """Has some layer zeros that are kept, whichever layers were named in keep, after the stage at this place? `least`:
    weights of the smallest layer."""
    stage, later = list(recipe)[place], list(recipe)[place:]
    if not isinstance(stage, Prune) or stage.scope == "gradual":
        return False
    # channels that go may take all zeros along
    return stage.amount * least >= 1 and not any(isinstance(one, Prune) and one.scope == "channel" for one in later)


def _stages(recipe: Recipe, kind: type) -> list:
    return [stage for stage in recipe if isinstance(stage, kind)]


class TooManySteps(ValueError):
    """What a file announces takes more work than its length allows."""


class Budget:
    """Steps of decoding: what a file may take by its length, and what it has asked for so far. A step is a decision of
    the coder or a byte that is written."""

    def __init__(self, size: int):  # bytes of the file
        self.size, self.needed = size, 0

    @property
    def left(self) -> int:
        return WORK + WORK_A_BYTE * self.size - self.needed

    def take(self, steps: int) -> None:
        """Ask for more; a line of error where no honest file of this length needs so many."""
        self.needed += steps
        if self.left < 0:
            raise TooManySteps(
                f"it announces {self.needed:,} steps of decoding, {self.size:,} bytes may need"
                f" {self.left + self.needed:,}"
            )


def steps_before_values(entry: Mapping, parts: Mapping[str, bytes]) -> int:
    """Steps that decoding a layer takes as far as its header tells: up to its mask, and without what is in context
    beside zeros."""
    count = prod(entry["shape"])
    total = _steps_of_numbers(parts["scale"], entry["shape"][0], 4) if entry.get("scale") else 0
    if entry["form"] == "codes":
        return total + _steps_of_symbols(parts, "codes", count, depth_of(entry["k"]))
    if entry["mask"]:
        return total + _steps_of_symbols(parts, "mask", count, 1)
    return total + steps_of_values(entry, parts, count)


def steps_of_values(entry: Mapping, parts: Mapping[str, bytes], count: int) -> int:
    """Steps that decoding so many integers or floats of a layer takes."""
    if entry["form"] == "grid":
        return _steps_of_symbols(parts, "integers", count, depth_of(2 * grid_limit(entry["bits"]) + 1))
    return _steps_of_floats(parts, "weights", count)


def _steps_of_tensors(tensors: Sequence, parts: Mapping[str, Mapping[str, bytes]]) -> int:
    total = 0
    for dtype in dict.fromkeys(dtype for _, dtype, _ in tensors):
        count = sum(prod(shape) for _, own, shape in tensors if own == dtype)
        if dtype == "float32":
            total += _steps_of_floats(parts[dtype], "tensors", count)
        else:
            total += _steps_of_numbers(parts[dtype]["tensors"], count, np.dtype(dtype).itemsize)
    return total


def _steps_of_symbols(parts: Mapping[str, bytes], kind: str, count: int, depth: int) -> int:
    """In context, most symbols are one decision; the others ask for theirs when they are decoded."""
    return count * (SYMBOL + (SLOWER if kind + IN_CONTEXT in parts else max(depth, 1)))


def _steps_of_floats(parts: Mapping[str, bytes], kind: str, count: int) -> int:
    half = kind + IN_HALF
    return _steps_of_numbers(parts[half], count, 2) if half in parts else _steps_of_numbers(parts[kind], count, 4)


def _steps_of_numbers(data: bytes, count: int, width: int) -> int:
    """A step for each byte that is written, eight for each that is decoded: those of planes with a coded length."""
    total, position = count * width, 0
    for _ in range(width):
        coded = int.from_bytes(data[position : position + 4], "little")
        total += 7 * count if coded > 1 else 0
        position += 4 + (coded - 1 if coded else count)
    return total


def kinds_of(entry: Mapping) -> list[str]:
    """The sections of a layer, in the order of the file."""
    first = ["scale"] if entry.get("scale") else []
    if entry["form"] == "codes":
        return [*first, "codebook", "codes"]
    return [*first, *["mask"] * entry["mask"], "integers" if entry["form"] == "grid" else "weights"]


def _recipe_of(text: object) -> Recipe:
    _require(_name(text), "its recipe is no text")
    try:
        recipe = parse(text)
    except ValueError as error:
        raise ValueError(f"its recipe cannot be read ({str(error)[:150]})") from None
    _require(str(recipe) == text, f"its recipe {_cut(text)} is not in its canonical form {_cut(str(recipe))}")
    return recipe


def _check_contract(said: object) -> None:
    try:
        same = canonical(InputContract(**said).record()) == canonical(said)
    except (TypeError, ValueError, OverflowError):
        same = False
    _require(same, "its input contract is none")


def _check_tensors(listed: list) -> None:
    for item in listed:
        _require(
            isinstance(item, list) and len(item) == 3 and _name(item[0]),
            "a tensor in its header has no name that can be printed",
        )
        _require(
            item[1] in NUMBERS and _shape(item[2], 0),
            f"tensor {item[0]} holds {_cut(item[1])} in the shape {_cut(item[2])}",
        )
    names = [name for name, *_ in listed]
    _require(
        names == sorted(set(names), key=lambda name: (name.rpartition(".")[2], name)),
        "its header lists tensors twice or in another order",
    )


def _check_sections(header: Mapping, sections: Sequence[Section]) -> None:
    wanted = [(entry["name"], kind) for entry in header["layers"] for kind in kinds_of(entry)]
    entries = {entry["name"]: entry for entry in header["layers"]}
    wanted += [
        ("", "ranges"),
        *((dtype, "tensors") for dtype in dict.fromkeys(dtype for _, dtype, _ in header["tensors"])),
    ]
    for section, (name, kind) in zip(sections, wanted):
        _require(
            section.name == name and section.kind in _forms(kind, name, entries.get(name, {})),
            f"section {_cut(section.kind)} of {_cut(section.name)} stands where {kind} of {name or 'the file'} belongs",
        )
    _require(len(sections) == len(wanted), f"it has {len(sections)} sections, its header makes {len(wanted)}")
    sizes = {(section.name, section.kind.removesuffix(IN_HALF)): len(section.data) for section in sections}
    two = {section.name for section in sections if section.kind == "codebook" + IN_HALF}
    for entry in header["layers"]:
        if entry["form"] != "codes":
            continue
        values = (
            entry["k"]
            * (entry["shape"][0] if entry.get("own") else 1)
            * (1 if entry["bits"] else 2 if entry["name"] in two else 4)
        )
        _require(
            sizes[entry["name"], "codebook"] == values,
            f"codes and codebook of layer {entry['name']} do not belong together",
        )
    _require(sizes["", "ranges"] == 5 * len(header["ranged"]), "its input ranges are not as many as its header lists")


def _forms(kind: str, name: str, entry: Mapping) -> tuple[str, ...]:
    """What a section of this kind may be called: coders and widths are for the writer to choose, where nothing is
    promised."""
    if kind in CODED and not (kind == "integers" and entry["mask"]):
        return kind, kind + IN_CONTEXT
    floats = kind == "tensors" and name == "float32" or kind == "weights" or kind == "codebook" and not entry["bits"]
    if floats and entry.get("half") and not entry["scale"]:
        return (kind + IN_HALF,)
    return (kind, kind + IN_HALF) if floats else (kind,)


def _name(text: object) -> bool:
    return isinstance(text, str) and len(text) <= LONGEST_NAME and text.isprintable()


def _shape(shape: object, least: int) -> bool:
    return isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and least <= n < 1 << 40 for n in shape)


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _require(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(what[:250])
