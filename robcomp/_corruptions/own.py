"""A function of one's own as a corruption: what tells it from another of its name, and whether others can import it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from hashlib import sha256

import numpy as np

CONSTANTS = (bool, int, float, str, bytes, type(None), np.generic)


def as_constant(value: object) -> str:
    """A value as a text that is the same in every process; empty where it is no constant."""
    if isinstance(value, CONSTANTS):
        return repr(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    parts = [as_constant(part) for part in value] if isinstance(value, (tuple, list)) else [""]
    return f"[{', '.join(parts)}]" if all(parts) else ""


def constants_of(function: Callable) -> dict[str, str]:
    """Constants that a function takes from outside its own text, by name."""
    function = inspect.unwrap(function)
    if not inspect.isfunction(function):
        return {}
    around, taken = inspect.getclosurevars(function), inspect.signature(function).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in taken if parameter.default is not parameter.empty}
    texts = {name: as_constant(value) for name, value in (around.globals | around.nonlocals | defaults).items()}
    return {name: text for name, text in sorted(texts.items()) if text}


def digest_of(function: Callable, name: str) -> str:
    """What tells a corruption from another of its name: its source, and the constants that it takes from outside."""
    try:
        found = sha256(inspect.getsource(function).encode())
    except OSError:
        raise ValueError(
            f"the source of corruption {name!r} cannot be read: define it in a file or a notebook"
        ) from None
    for constant, value in constants_of(function).items():
        found.update(f"{constant}={value}\n".encode())
    return found.hexdigest()[:8]


def check_found(own: object) -> None:
    """One line about a corruption that no other process can import."""
    typed = own.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    if "<locals>" not in own.__qualname__ and not typed:
        return
    place = "in a notebook" if typed else "inside a function"
    raise TypeError(
        f"corruption {own.name!r} is defined {place}, so no other process finds it: "
        "define it at the top of a file that can be imported"
    )
