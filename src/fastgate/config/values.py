"""Values: the units an operator writes, each with its own schema pattern.

Owns:      how a duration, a size, a number, a flag, a text and a secret are spelled.
Called by: config.model (as field types); config.compile reads the parsed values.

Error texts are sentences without the value's path: `config.problems` puts the place in
front. A secret's value never appears in one.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "REVEAL",
    "Between",
    "ByteCount",
    "ByteSize",
    "Count",
    "Duration",
    "Flag",
    "Given",
    "Patterned",
    "Secret",
    "Share",
    "Text",
    "Within",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
    "shown",
]

# Serialisation context that writes secrets out; used for the private document only.
REVEAL = {"reveal": True}

# Reason: one of each unit, largest first, so that every text has one reading.
_DURATION = re.compile(
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m(?!s))?"
    r"(?:([0-9]{1,9})s)?(?:([0-9]{1,9})ms)?",
    re.ASCII,
)
_DURATION_SCHEMA = (
    r"^(?=.)([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m(?!s))?"
    r"([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
)
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)", re.ASCII)
_SHARE = re.compile(r"[01](\.[0-9]{1,9})?", re.ASCII)
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MAX_TEXT = 4096


class ByteCount(int):
    """A number of bytes that was spelled with its unit."""

    __slots__ = ()


class Given(str):
    """Text from the environment or a `${...}`: it may spell a number or a flag."""

    __slots__ = ()


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `10s`, `1h30m` or `250ms`.

    Raises ValueError with a text for the operator.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(
            f'"{shown(text)}" is no duration; write it like 10s, 5m, 250ms'
        )
    days, hours, minutes, seconds, millis = (int(part or 0) for part in match.groups())
    try:
        return timedelta(
            days=days,
            hours=hours,
            minutes=minutes,
            seconds=seconds,
            milliseconds=millis,
        )
    except OverflowError:
        raise ValueError(f'"{shown(text)}" is too long') from None


def format_duration(value: timedelta) -> str:
    """Write a duration as `parse_duration` reads it; whole milliseconds."""
    rest = round(value / timedelta(milliseconds=1))
    out = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, rest = divmod(rest, size)
        out += f"{count}{unit}" if count else ""
    return out + (f"{rest}ms" if rest else "") or "0s"


def parse_size(text: str) -> ByteCount:
    """Read a size such as `64KiB` into bytes.

    Raises ValueError with a text for the operator.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{shown(text)}" is no size; write it like 512B, 64KiB, 1MiB')
    return ByteCount(int(match[1]) * _SIZE_UNITS[match[2]])


def format_size(value: int) -> str:
    """Write a size as `parse_size` reads it, in the largest unit that divides it."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return f"{value}B"


def shown(text: str, limit: int = 64) -> str:
    """Return what an error may repeat of a value: one line of `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in cut)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("is no duration; write a number with its unit, like 10s")  # noqa: TRY004
    return parse_duration(value)


def _size(value: object) -> object:
    if isinstance(value, ByteCount):
        return value
    if isinstance(value, str):
        return parse_size(value)
    raise ValueError("is no size; write a number with its unit, like 64KiB")


def _flag(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, Given) and value in {"true", "false"}:
        return value == "true"
    raise ValueError("is neither true nor false")


def _count(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Given) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        return int(value)
    raise ValueError("is no whole number")


def _share(value: object) -> object:
    number = value
    if isinstance(value, Given) and _SHARE.fullmatch(value):
        number = float(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        if 0 <= number <= 1:
            return float(number)
        raise ValueError("must lie between 0 and 1")
    raise ValueError("is no share; write a number from 0 to 1, like 0.01")


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("is no text; put it in quotes")  # noqa: TRY004
    if not value or len(value) > _MAX_TEXT:
        raise ValueError(f"must have 1 to {_MAX_TEXT} characters")
    if not value.isprintable():
        raise ValueError("has a control character")
    return str(value)


class _DurationText:
    """Serialises a duration as the text it was written as."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.timedelta_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_duration
            )
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": _DURATION_SCHEMA,
            "examples": ["10s", "5m", "250ms"],
        }


class _SizeText:
    """Serialises a size as the text it was written as."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.int_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(format_size)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": f"^{_SIZE.pattern}$",
            "examples": ["512B", "64KiB", "1MiB"],
        }


@dataclass(frozen=True, slots=True)
class Between:
    """The range a duration or size must lie in, both ends included.

    low, high: Spelled as an operator would write them.
    """

    low: str
    high: str

    def check(self, value: timedelta | int) -> timedelta | int:
        """Return the value, or raise ValueError naming the range."""
        parse = parse_duration if isinstance(value, timedelta) else parse_size
        low, high = parse(self.low), parse(self.high)
        if not low <= value <= high:  # type: ignore[operator]
            raise ValueError(f"must lie between {self.low} and {self.high}")
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "x-range": f"{self.low} to {self.high}"}


@dataclass(frozen=True, slots=True)
class Within:
    """The range a whole number must lie in, both ends included."""

    low: int
    high: int

    def check(self, value: int) -> int:
        """Return the value, or raise ValueError naming the range."""
        if not self.low <= value <= self.high:
            raise ValueError(f"must lie between {self.low} and {self.high}")
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Patterned:
    """A pattern that a text must match as a whole, and what to say when it does not."""

    pattern: str
    message: str

    def check(self, value: str) -> str:
        """Return the value, or raise ValueError with the message."""
        if not re.fullmatch(self.pattern, value, re.ASCII):
            raise ValueError(f'"{shown(value)}" {self.message}')
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


Duration = Annotated[timedelta, _DurationText(), BeforeValidator(_duration)]
ByteSize = Annotated[int, _SizeText(), BeforeValidator(_size)]
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
Count = Annotated[int, BeforeValidator(_count)]
Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
Text = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": _MAX_TEXT}),
]


class Secret:
    """A text that stays out of representations, dumps, logs and error texts."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret; only code that must use it calls this."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError("is no text; put it in quotes")  # noqa: TRY004
        if not value or len(value) > _MAX_TEXT:
            raise ValueError(f"must have 1 to {_MAX_TEXT} characters")
        if not value.isprintable():
            raise ValueError("has a control character or a line end inside")
        return cls(str(value))

    @staticmethod
    def _serialise(value: "Secret", info: SerializationInfo) -> str:
        context = info.context if isinstance(info.context, dict) else {}
        return value.reveal() if context.get("reveal") is True else "(secret)"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls._serialise, info_arg=True
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "writeOnly": True}
