"""The base of every serialisable description: frozen, strict, and with errors that name each problem."""

from __future__ import annotations

import typing
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from glam_core.errors import GlamError, SpecError, closest


class Schema(BaseModel):
    """A frozen pydantic model that forbids unknown keys, NaN and infinity, and raises errors of this project.

    Subclasses choose the type of error that a bad value raises with `error_type`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
    error_type: ClassVar[type[GlamError]] = SpecError

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise self.error_type(describe(error, type(self))) from error

    # As in pydantic's own RootModel: nested models are then validated in place, so that their errors keep their path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Builds the model from a dict (or an instance); raises `error_type` that lists every problem."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise cls.error_type(describe(error, cls)) from error

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Builds the model from JSON text; raises `error_type` that lists every problem."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise cls.error_type(describe(error, cls)) from error


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """One message for a pydantic error: each problem with its path, the value given, and the closest legal key."""
    problems = []
    for problem in error.errors(include_url=False):
        *parents, key = problem["loc"] or ("",)
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            owner = _model_at(model, tuple(parents))
            where = f" in {'.'.join(str(part) for part in parents)}" if parents else ""
            problems.append(closest(str(key), owner.model_fields if owner else (), "key") + where)
        elif problem["type"] == "missing":
            problems.append(f"{path} is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = f" (given {problem['input']!r:.80})" if path else ""
            problems.append(f"{path}: {message}{given}" if path else message)
    return f"{model.__name__}: " + "; ".join(problems)


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model class that stands at `path` below `model`, where it can be told."""
    current: Any = model
    for part in path:
        models = [current] if _is_model(current) else [item for item in _flatten(current) if _is_model(item)]
        if not models:
            return None
        current = models[0] if isinstance(part, int) else _annotation(models[0], part)
    models = [item for item in _flatten(current) if _is_model(item)]
    return models[0] if models else None


def _annotation(model: type[BaseModel], field: str) -> Any:
    info = model.model_fields.get(field)
    return info.annotation if info else model


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _flatten(annotation: Any) -> list[Any]:
    """Every plain type inside an annotation such as `tuple[Camera, ...] | None`."""
    arguments = typing.get_args(annotation)
    if not arguments:
        return [annotation]
    return [leaf for argument in arguments for leaf in _flatten(argument)]
