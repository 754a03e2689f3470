"""One small exception tree. A message says what was wrong, what was expected, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GlamError(Exception):
    """Base of every error that GLAM raises on purpose."""


class SpecError(GlamError):
    """Names, shapes, units or sizes do not fit the spec."""


class NormalizationError(GlamError):
    """Statistics are missing, unknown or unusable."""


class ObservationError(GlamError):
    """An observation is missing, malformed or inconsistent."""


class StaleObservationError(ObservationError):
    """An observation exists, but is too old to act on."""


class ModelFolderError(GlamError):
    """A model folder is incomplete, altered or not understood."""


class SafetyError(GlamError):
    """A limit is unusable, or a command can not be made safe."""


class ConfigurationError(GlamError):
    """A configuration file or value is wrong."""


class DataError(GlamError):
    """A data set or an episode is missing, malformed or inconsistent."""


def closest(name: str, legal: Iterable[str], kind: str) -> str:
    """Builds the message for an unknown name.

    Args:
        name: The name that was given.
        legal: All names that would have been right.
        kind: What the name stands for, for example `"camera"`.

    Returns:
        A message such as `unknown camera 'frnt'; legal: front, side; did you mean 'front'?`
    """
    names = [str(candidate) for candidate in legal]
    message = f"unknown {kind} '{name}'; legal: {', '.join(names) if names else '(none)'}"
    matches = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"{message}; did you mean '{matches[0]}'?" if matches else message
