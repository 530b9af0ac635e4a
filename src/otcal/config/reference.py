"""Write the reference of config.yaml as Markdown: ``python -m otcal.config.reference FILE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from otcal.config.study import Settings
from otcal.runtime.files import write_text

Node = dict[str, Any]

INTRODUCTION = """\
# Reference of `config.yaml`

Every key that the configuration takes, made from the models that check it (`make schema`). A
preset, or `--configfile` of one's own, overrides single keys. An unknown key, a missing one or a
value out of range stops the workflow before any job, with the name of the key. Keys without a
default are set in `config.yaml`, whose comments say why.
"""

LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "pattern": "`{}`",
}
"""Constraints of a JSON schema in words."""


def reference(schema: Node) -> str:
    """Return a section for every block of a JSON schema, in the order in which they are met."""
    sections = (_section(path, block, schema) for path, block in _blocks("", schema, schema))
    return "\n".join([INTRODUCTION, *sections])


def _blocks(path: str, block: Node, schema: Node) -> Iterator[tuple[str, Node]]:
    """Yield a block and those inside it, with their dotted keys."""
    yield path, block
    for key, node in block["properties"].items():
        for inner, found in _inside(f"{path}.{key}".lstrip("."), node, schema):
            yield from _blocks(inner, found, schema)


def _inside(path: str, node: Node, schema: Node) -> Iterator[tuple[str, Node]]:
    """Yield the blocks that a key's value consists of."""
    node = _resolved(node, schema)
    if "properties" in node:
        yield path, node
    for option in _options(node):
        yield from _inside(path, option, schema)
    if isinstance(inner := node.get("additionalProperties"), dict):
        yield from _inside(f"{path}.<name>", inner, schema)
    if isinstance(inner := node.get("items"), dict):
        yield from _inside(f"{path}[]", inner, schema)


def _section(path: str, block: Node, schema: Node) -> str:
    """Return heading, purpose and table of a block."""
    purpose = " ".join(block.get("description", "").split("\n\n")[0].split())
    lines = [f"## `{path}`" if path else "## Top level", "", purpose, ""]
    lines += ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, node in block["properties"].items():
        required = key in block.get("required", ())
        default = "" if required else _default(node.get("default"))
        meaning = " ".join(_meaning(node, schema).split())
        cells = (f"`{key}`", _kind(node, schema), default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _meaning(node: Node, schema: Node) -> str:
    """Return the description of a key, or the first paragraph of its block's."""
    if "const" in node:
        return "Tells this block from the others that may stand here."
    inner = _resolved(node, schema)
    item = _resolved(inner.get("items", {}), schema)
    found = next((one["description"] for one in (node, inner, item) if "description" in one), "")
    return str(found).split("\n\n")[0]


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return "see its section" if value else ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _kind(node: Node, schema: Node) -> str:
    """Return what values a key takes, in words."""
    node = _resolved(node, schema)
    limits = " and ".join(
        text.format(_short(node[key])) for key, text in LIMITS.items() if key in node
    )
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if options := _options(node):
        return " or ".join(dict.fromkeys(_kind(option, schema) for option in options))
    if "properties" in node:
        return "block"
    kind = str(node.get("type", "any value"))
    if kind == "object":
        inner = node.get("additionalProperties")
        kind = f"name: {_kind(inner, schema)}" if isinstance(inner, dict) else "block"
    elif kind == "array":
        inner = node.get("items")
        kind = f"list of {_kind(inner, schema)}" if inner else _tuple(node, schema)
    return f"{kind} {limits}".strip()


def _short(limit: Any) -> str:
    return f"{limit:.4g}" if isinstance(limit, float) else str(limit)


def _tuple(node: Node, schema: Node) -> str:
    return "list: " + ", ".join(_kind(one, schema) for one in node.get("prefixItems", ()))


def _options(node: Node) -> list[Node]:
    """Return the alternatives of which a value is one."""
    return list(node.get("anyOf") or node.get("oneOf") or ())


def _resolved(node: Node, schema: Node) -> Node:
    """Follow a reference into the schema's definitions."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


if __name__ == "__main__":
    write_text(sys.argv[1], reference(Settings.model_json_schema()))
