"""Config dataclasses as plain values: to write them beside what they made, and to compare them on resuming."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from glam_core.errors import ConfigurationError


def plain(config: Any) -> Any:
    """A config dataclass as JSON values: paths become strings, tuples lists, nested dataclasses dicts."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [plain(value) for value in config]
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    if isinstance(config, os.PathLike):
        return os.fspath(config)
    raise ConfigurationError(
        f"a config holds numbers, strings, paths and containers of them, not {type(config).__name__}"
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Readable differences of two plain configs, such as "seed was 0, is 1"."""
    found = []
    for name in sorted(set(old) | set(new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name} was {before!r}, is {after!r}")
    return found
