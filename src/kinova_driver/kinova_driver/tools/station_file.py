"""Writes measured values into a station file, and leaves the rest of it as people wrote it, comments included."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from glam_core.station import load_station


def write_arm_values(path: Path, arm: str, values: Mapping[str, Any]) -> None:
    """Sets keys of one arm; a value that is a mapping sets keys of that section.

    Args:
        path: The station file. It is replaced in one step, and only by one that can be loaded.
        arm: Name of the arm.
        values: What to set.

    Raises:
        ConfigurationError: The file is wrong, has no such arm, or would be wrong with these values.
    """
    load_station(path).arm(arm)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(path.read_text(encoding="utf-8"))
    section = next(entry for entry in document["arms"] if entry["name"] == arm)
    _set(section, values)
    written = StringIO()
    yaml.dump(document, written)
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(written.getvalue(), encoding="utf-8")
        load_station(draft)
        os.chmod(draft, path.stat().st_mode)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _set(section: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _set(section.setdefault(key, {}), value)
        else:
            section[key] = value
