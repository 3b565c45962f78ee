"""Reference: the configuration's page in docs/, made from the models.

Owns:      docs/configuration.md, which a test compares.
Called by: cli.config, as `fastgate config reference`.
"""

from collections.abc import Iterator
from typing import Any

from fastgate.config.shape import Schema, schema

__all__ = ["reference_page"]

_SCALARS = {
    "string": "text",
    "boolean": "true, false",
    "integer": "number",
    "number": "share",
}
_UNITS = {"512B": "size", "10s": "duration", "0.0.0.0:8080": "address"}

_HEAD = """\
# Configuration

<!-- Made by `fastgate config reference`; a test compares. Change the models. -->

One YAML 1.2 file (JSON is YAML). It is looked for in this order: the command's
argument, `FASTGATE_CONFIG`, `./fastgate.yaml`, `/etc/fastgate/fastgate.yaml`.

- Unknown keys are errors. So is a key without a value: a line that is not there means
  the default. Tags, duplicate keys and more than one document are refused; a file has
  at most 1 MiB.
- A duration has units: `10s`, `5m`, `1h30m`, `250ms`. So has a size: `512B`, `64KiB`.
- `${VAR}` is replaced by an environment variable, `${file:PATH}` by a file's content
  without its last line end (relative paths begin at the folder of the configuration),
  `$$` by a dollar sign. A variable that is not set is an error.
- The environment wins over the file: `FASTGATE_REGIONS__DEFAULT=us` sets
  `regions.default`. Lists and mappings are given whole, as `[eu, us]`, and replaced,
  never joined. `FASTGATE_ADMIN_TOKEN_FILE=/run/secrets/admin` takes the value from a
  file; any other setting can be given that way too.
- `fastgate check` prints every problem at once as `file:line:col`, and the revocation
  bound that each route really has. `fastgate config schema` prints the JSON Schema
  (`docs/config.schema.json`), which editors understand.
"""


def reference_page() -> str:
    """Return the page as Markdown."""
    root = schema()
    parts = [_HEAD, *_section("", "Top level", root)]
    return "\n".join(parts).rstrip() + "\n"


def _section(path: str, title: str, node: Schema) -> Iterator[str]:
    yield f"## {title}\n"
    if path and "description" in node:
        yield f"{node['description']}\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    below: list[tuple[str, Schema]] = []
    required = node.get("required", ())
    for key, raw in node["properties"].items():
        default = _default(key, raw, required)
        meaning = raw.get("description", _target(raw).get("description", ""))
        yield f"| `{key}` | {_kind(raw)} | {default} | {_cell(meaning)} |"
        here = f"{path}.{key}" if path else key
        below += [(here + suffix, child) for suffix, child in _inside(raw)]
    yield ""
    for here, child in below:
        yield from _section(here, f"`{here}`", child)


def _target(node: Schema) -> Schema:
    if "$ref" in node:
        found: Schema = schema()["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node


def _inside(node: Schema) -> Iterator[tuple[str, Schema]]:
    # The sections below a key, with what stands between: a name, a list's index.
    node = _target(node)
    if "properties" in node:
        yield "", node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _inside(choice)
    if isinstance(node.get("items"), dict):
        yield from ((f"[]{rest}", child) for rest, child in _inside(node["items"]))
    for value in node.get("patternProperties", {}).values():
        yield from ((f".<name>{rest}", child) for rest, child in _inside(value))


def _kind(node: Schema) -> str:
    node = _target(node)
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if choices:
        return " or ".join(dict.fromkeys(_kind(choice) for choice in choices))
    if "const" in node or "enum" in node:
        words = node.get("enum", [node.get("const")])
        return ", ".join(f"`{word}`" for word in words)
    if node.get("type") == "array":
        return f"list of {_kind(node['items'])}"
    if node.get("type") == "object":
        values = list(node.get("patternProperties", {}).values())
        return f"name → {_kind(values[0])}" if values else "section"
    return _scalar(node)


def _scalar(node: Schema) -> str:
    name = _SCALARS[node["type"]]
    if "examples" in node:
        name = _UNITS.get(node["examples"][0], name)
    if node.get("writeOnly"):
        name = "secret"
    if "x-range" in node:
        return f"{name}, {node['x-range']}"
    if "minimum" in node:
        return f"{name}, {node['minimum']:,} to {node['maximum']:,}"
    return name


def _default(key: str, node: Schema, required: Any) -> str:
    if key in required:
        return "**required**"
    default = node.get("default")
    if default is None or default in ([], {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
