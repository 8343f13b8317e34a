"""Files of parameters, as users write them."""
from __future__ import annotations

from pathlib import Path

import yaml


def read_parameter_file(path: Path) -> dict:
    """The parameters of a YAML file; one line of error where it cannot be read or holds none."""
    try: found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error: raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(f"{path} is not YAML in UTF-8: write lines as `epochs: 3`") from None
    if not isinstance(found, dict): raise ValueError(f"{path} holds no parameters: write lines as `epochs: 3`")
    return found
