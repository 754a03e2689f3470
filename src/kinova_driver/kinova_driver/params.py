"""A frozen dataclass is the description of a node's ROS parameters: name, type, default, range, meaning.

They are read-only: given at start, and rejected by rclpy there and later.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from glam_core.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Parameters = TypeVar("Parameters", bound="DataclassInstance")


def parameter(default: Any, description: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    """One field of a parameter dataclass; the range is inclusive."""
    metadata = {"description": description, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def declare(node: Node, kind: type[Parameters]) -> Parameters:
    """Declares every field of `kind` on the node, and returns the values.

    Raises:
        ConfigurationError: A value has the wrong type or lies outside of its range.
    """
    values = {}
    for field in dataclasses.fields(kind):
        descriptor = _descriptor(field)
        try:
            values[field.name] = node.declare_parameter(field.name, field.default, descriptor).value
        except ParameterException as error:
            low, high = field.metadata["minimum"], field.metadata["maximum"]
            limits = "" if low is None else f" in [{low}, {high}]"
            raise ConfigurationError(
                f"parameter '{field.name}' of {node.get_name()} has the type {type(field.default).__name__}{limits} "
                f"({descriptor.description}): {error}"
            ) from error
    return kind(**values)


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=field.name, description=field.metadata["description"], read_only=True)
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    if low is not None and isinstance(field.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    elif low is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    return descriptor
