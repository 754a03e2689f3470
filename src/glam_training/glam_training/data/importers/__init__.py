"""`glam import`: recordings of a robot, or of others, into stores that train."""

from __future__ import annotations

import sys

from glam_core.errors import ConfigurationError, closest
from glam_training.data.importers import mcap

FORMATS = {"mcap": mcap.main}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam import`: the first argument names the format."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in FORMATS:
        raise ConfigurationError(closest(name, FORMATS, "format"))
    FORMATS[name](rest)
