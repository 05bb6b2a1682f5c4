"""YAML for people: the safe subset, numbers as YAML 1.2 reads them, and a line and column for every fault.

Against PyYAML's defaults: `1e-4` is a float, `no` and `on` are words, dates are words, a key given twice is refused,
and aliases that would grow into a large document are refused before anything is built from them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from trainers.errors import InvalidInput

MAX_CHARACTERS = 256 * 1024
MAX_NODES = 100_000  # counted with every alias written out

_CORE_SCHEMA = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("tag:yaml.org,2002:merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own way)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text: str = loader.construct_scalar(node)
    if len(text) > 100:
        raise yaml.constructor.ConstructorError(None, None, "a number of over 100 digits", node.start_mark)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


for _tag, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_yaml(text: str) -> Any:
    """The value that `text` describes. Raises InvalidInput with the line and column of the fault."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"at most {MAX_CHARACTERS // 1024} KiB of YAML, not {len(text) // 1024} KiB")
    try:
        return _build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidInput(f"{where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidInput(" ".join(str(error).split())) from None
    except RecursionError:
        raise InvalidInput("lists or mappings nested too deeply") from None


def _build(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _nodes_written_out(node, {}) > MAX_NODES:
            raise InvalidInput(f"more than {MAX_NODES:,} values once its aliases are written out")
        try:
            return loader.construct_document(node)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput("a value does not fit the tag (!!…) that stands before it") from None
    finally:
        loader.dispose()


def _nodes_written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there would be without aliases; each node is visited once. One in progress counts 0."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.composer.ComposerError(None, None, "an alias that contains itself", node.start_mark)
        return known[id(node)]
    known[id(node)] = 0
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_nodes_written_out(child, known) for child in children)
    return known[id(node)]


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.composer.ComposerError(None, None, "a key must be a word", key.start_mark)
        if key.value in seen:
            raise yaml.composer.ComposerError(None, None, f"{key.value!r} is given twice", key.start_mark)
        seen.add(key.value)
