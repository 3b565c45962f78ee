"""Base: what every configuration model shares.

Owns:      the closed, frozen base model, the spelling of names, the "word or" rule.
Called by: the sections of config.model.
"""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from fastgate.config.values import Patterned, Text

__all__ = [
    "Alias",
    "ClaimName",
    "FilePath",
    "Model",
    "OrWord",
    "RegionName",
    "ScopeValue",
    "VisibleText",
]


class Model(BaseModel):
    """A closed, frozen section: unknown keys are errors, defaults are checked too."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=False,
    )


class OrWord:
    """Allows one word in place of a value, kept as None and written as the word.

    word: Spelled as the operator writes it, e.g. `auto`.
    """

    def __init__(self, word: str) -> None:
        self.word = word

    def _read(self, value: object) -> object:
        return None if value == self.word else value

    def _write(
        self, value: Any, handler: core_schema.SerializerFunctionWrapHandler
    ) -> Any:
        return self.word if value is None else handler(value)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._read,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                self._write, schema=handler(source)
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        choices = [c for c in made.get("anyOf", [made]) if c.get("type") != "null"]
        return {"anyOf": [{"const": self.word}, *choices]}


# Reason: fits a DNS label and a metric label, so no escaping is ever needed.
RegionName = Annotated[
    Text,
    Patterned(
        r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?",
        "is no region name; use a-z, 0-9 and -, at most 32 characters",
    ),
]
# Reason: names become metric labels and log fields.
Alias = Annotated[
    Text,
    Patterned(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?",
        "is no name; use letters, digits, _ . -, at most 64 characters",
    ),
]
ClaimName = Annotated[
    Text,
    Patterned(r"[!-~]{1,128}", "is no claim name; use visible ASCII, at most 128"),
]
# Source: RFC 6749 section 3.3, scope-token.
ScopeValue = Annotated[
    Text,
    Patterned(
        r"[\x21\x23-\x5b\x5d-\x7e]{1,256}",
        "is no scope value; RFC 6749 allows visible ASCII without quote and backslash",
    ),
]
VisibleText = Annotated[
    Text,
    Patterned(r"[ !#-\[\]-~]{1,512}", "must be ASCII without quote and backslash"),
]
FilePath = Annotated[
    Text, Patterned(r"/[^\0]*", "is no absolute path; begin it with a slash")
]
