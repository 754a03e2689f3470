"""A frozen dataclass is the description of a node's ROS parameters: name, type, default, range, meaning.

A value of the wrong type, outside of its range or outside of its choices is rejected with a message, never clamped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_type_hints

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from glam_core.errors import ConfigurationError, closest

Parameters = TypeVar("Parameters")

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    tuple[str, ...]: ParameterType.PARAMETER_STRING_ARRAY,
}


def parameter(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """One field of a parameter dataclass; the range is inclusive."""
    limits = {"description": description, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


def declare(node: Node, kind: type[Parameters], locked: Callable[[], bool]) -> None:
    """Declares every field of `kind` on the node and guards later changes.

    Args:
        node: The node that owns the parameters.
        kind: A frozen dataclass whose fields were made with `parameter`.
        locked: True while a change would have no effect, so that it has to be refused.

    Raises:
        ConfigurationError: A value given at start has the wrong type or lies outside of its range.
    """
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            node.declare_parameter(field.name, default, _descriptor(field, hints[field.name]))
        except InvalidParameterValueException as error:
            raise ConfigurationError(f"parameter '{field.name}' ({_meaning(field)}): {error}") from error
    read(node, kind)

    def guard(changes: list[Parameter]) -> SetParametersResult:
        fields = {field.name: field for field in dataclasses.fields(kind)}
        for change in changes:
            if change.name not in fields:
                continue
            if locked():
                reason = f"'{change.name}' is read when the node is configured; deactivate and clean up first"
                return SetParametersResult(successful=False, reason=reason)
            try:
                _checked(fields[change.name], hints[change.name], change.value)
            except ConfigurationError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(guard)


def read(node: Node, kind: type[Parameters]) -> Parameters:
    """The current values of the declared parameters, checked.

    Raises:
        ConfigurationError: A value has the wrong type or lies outside of its range.
    """
    hints = get_type_hints(kind)
    values = {
        field.name: _checked(field, hints[field.name], node.get_parameter(field.name).value)
        for field in dataclasses.fields(kind)
    }
    return kind(**values)


def require_pairs(first: Sequence[str], second: Sequence[str], names: str) -> None:
    """Raises ConfigurationError unless two lists that describe the same things are of the same length."""
    if len(first) != len(second):
        raise ConfigurationError(
            f"the parameters {names} have one value each per item, not {len(first)} and {len(second)}"
        )


def _checked(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """The value as the field's type; raises ConfigurationError where it does not fit."""
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"parameter '{field.name}' is a list of names, not {value!r}")
        return tuple(value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigurationError(f"parameter '{field.name}' is a {hint.__name__}, not {value!r} ({_meaning(field)})")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_range(field, value)
    if field.metadata["choices"] and value not in field.metadata["choices"]:
        raise ConfigurationError(closest(str(value), field.metadata["choices"], f"value of parameter '{field.name}'"))
    return value


def _check_range(field: dataclasses.Field, value: float) -> None:
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigurationError(f"parameter '{field.name}' lies in [{low}, {high}], not {value} ({_meaning(field)})")


def _meaning(field: dataclasses.Field) -> str:
    return field.metadata["description"]


def _descriptor(field: dataclasses.Field, hint: Any) -> ParameterDescriptor:
    minimum, maximum, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    # Dynamic typing leaves the check of the type, and its message, to `_checked`, which also takes 40 for 40.0.
    descriptor = ParameterDescriptor(
        name=field.name, type=_TYPES[hint], description=_meaning(field), dynamic_typing=True
    )
    if choices:
        descriptor.additional_constraints = "one of: " + ", ".join(choices)
    if minimum is None or maximum is None:
        return descriptor
    if hint is int:
        descriptor.integer_range = [IntegerRange(from_value=int(minimum), to_value=int(maximum), step=0)]
    elif hint is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(minimum), to_value=float(maximum), step=0.0)
        ]
    return descriptor
