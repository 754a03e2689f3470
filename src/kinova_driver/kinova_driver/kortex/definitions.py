"""The messages of the Kortex API as protobuf classes, laid out like the modules of the official package.

They are built at import into a descriptor pool of their own, so that they never meet those of the official package in
the same process. Both protobuf 3.20 and the current one are supported: the official package needs the former, and
everything else brings the latter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from kinova_driver.kortex.messages import PACKAGES

_PREFIX = "glam.kortex"
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}
_TOKEN = re.compile(r"[\w.]+|[{}=;]")


class _Reader:
    """Reads one package in proto3 notation."""

    def __init__(self, package: str, text: str, enums: set[str]) -> None:
        self._package, self._tokens, self._enums = package, iter(_TOKEN.findall(text)), enums
        self.file = FileDescriptorProto(name=f"{package}.proto", package=f"{_PREFIX}.{package}", syntax="proto3")

    def read(self) -> FileDescriptorProto:
        for kind in self._tokens:
            name = self._expect("{")
            if kind == "enum":
                self._enums.add(f"{self._package}.{name}")
                self._read_enum(self.file.enum_type.add(name=name))
            else:
                assert kind == "message", kind
                self._read_fields(self.file.message_type.add(name=name), None)
        return self.file

    def _read_enum(self, enum: EnumDescriptorProto) -> None:
        for name in self._until_brace():
            enum.value.add(name=name, number=self._number())
        numbers = [value.number for value in enum.value]
        if len(set(numbers)) < len(numbers):
            enum.options.allow_alias = True

    def _read_fields(self, message: DescriptorProto, oneof: int | None) -> None:
        for kind in self._until_brace():
            if kind == "oneof":
                message.oneof_decl.add(name=self._expect("{"))
                self._read_fields(message, len(message.oneof_decl) - 1)
                continue
            repeated = kind == "repeated"
            kind = next(self._tokens) if repeated else kind
            field = message.field.add(name=next(self._tokens), number=self._number())
            field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            self._set_type(field, kind)
            if oneof is not None:
                field.oneof_index = oneof

    def _set_type(self, field: FieldDescriptorProto, kind: str) -> None:
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
            return
        name = kind if "." in kind else f"{self._package}.{kind}"
        field.type = FieldDescriptorProto.TYPE_ENUM if name in self._enums else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PREFIX}.{name}"

    def _until_brace(self) -> Iterator[str]:
        while (token := next(self._tokens)) != "}":
            yield token

    def _expect(self, token: str) -> str:
        """The name before `token`."""
        name, following = next(self._tokens), next(self._tokens)
        assert following == token, f"{self._package}: expected '{token}' after {name}"
        return name

    def _number(self) -> int:
        """The number in `= number;`."""
        assert next(self._tokens) == "="
        number = int(next(self._tokens))
        assert next(self._tokens) == ";"
        return number


def _build() -> dict[str, SimpleNamespace]:
    pool, enums, built = DescriptorPool(), set(), {}
    for package, text in PACKAGES.items():
        file = _Reader(package, text, enums).read()
        file.dependency.extend(f"{name}.proto" for name in built)
        pool.AddSerializedFile(file.SerializeToString())
        built[package] = file
    return {package: _namespace(pool, file) for package, file in built.items()}


def _namespace(pool: DescriptorPool, file: FileDescriptorProto) -> SimpleNamespace:
    """Message classes, enumerations and their values, as attributes."""
    namespace = SimpleNamespace()
    for message in file.message_type:
        setattr(namespace, message.name, _message_class(pool, f"{file.package}.{message.name}"))
    for enum in file.enum_type:
        setattr(namespace, enum.name, EnumTypeWrapper(pool.FindEnumTypeByName(f"{file.package}.{enum.name}")))
        for value in enum.value:
            setattr(namespace, value.name, value.number)
    return namespace


def _message_class(pool: DescriptorPool, name: str) -> type:
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # type: ignore[attr-defined]  # protobuf 3.20


_PACKAGES = _build()
Api = _PACKAGES["Api"]
Common = _PACKAGES["Common"]
ProductConfiguration = _PACKAGES["ProductConfiguration"]
Session = _PACKAGES["Session"]
GripperCyclic = _PACKAGES["GripperCyclic"]
InterconnectCyclic = _PACKAGES["InterconnectCyclic"]
BaseCyclic = _PACKAGES["BaseCyclic"]
Base = _PACKAGES["Base"]
ActuatorConfig = _PACKAGES["ActuatorConfig"]
ControlConfig = _PACKAGES["ControlConfig"]
DeviceConfig = _PACKAGES["DeviceConfig"]
DeviceManager = _PACKAGES["DeviceManager"]
InterconnectConfig = _PACKAGES["InterconnectConfig"]
GripperConfig = _PACKAGES["GripperConfig"]
ErrorCodes, SubErrorCodes = Api.ErrorCodes, Api.SubErrorCodes
