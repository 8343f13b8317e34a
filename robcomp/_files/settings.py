"""Files of parameters, and values on a command line, as users write them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
BROKEN = re.compile(
    r"""[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?$
                      |[-+]?[0-9]+[eE][-+]?[0-9]+$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$""",
    re.X,
)


class NotPlain(ValueError):
    """YAML that can be read, but not in one way alone."""


class Plain(yaml.SafeLoader):
    """YAML in which a number is what everybody reads: 010, 1:30 and 2026-01-01 are texts, not 8, 90 and a day; 1e-3 is
    a number. No name stands twice, and nothing refers to what stands elsewhere."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise NotPlain(f"{twice[0]} stands twice: write it once")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node, index: object) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            raise NotPlain("a * refers to another value: write it out, or quote it")
        return super().compose_node(parent, index)


OTHERWISE = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in OTHERWISE]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Plain.add_implicit_resolver("tag:yaml.org,2002:int", WHOLE, [*"-+0123456789"])
Plain.add_implicit_resolver("tag:yaml.org,2002:float", BROKEN, [*"-+.0123456789"])


def read_value(
    word: str,  # as `EPOCHS=3`
    value: str,  # what stands behind the equals sign
) -> object:
    """A value of a command line; one line of error where it cannot be read."""
    try:
        return yaml.load(value, Plain) if value else ""
    except NotPlain as error:
        raise ValueError(f"{word!r:.200}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(f"{word!r:.200}: the value cannot be read as YAML; quote texts that hold : or {{") from None


def read_parameter_file(path: Path) -> dict:
    """The parameters of a YAML file; one line of error where it cannot be read or holds none."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Plain)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except NotPlain as error:
        raise ValueError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(f"{path} is not YAML in UTF-8: write lines as `epochs: 3`") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no parameters: write lines as `epochs: 3`")
    return found
