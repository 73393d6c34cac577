"""A strict reader for all small YAML and JSON files: options, descriptions, lists of rows, records."""

from pathlib import Path
from typing import Any

import yaml

from inference.runs.folder import RunError

LARGEST = 100_000  # bytes


def read_mapping(file: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The mapping in a small YAML or JSON file.

    Only plain values are allowed: null, true, false, numbers, strings, and lists and mappings of these.
    Tags, anchors, aliases (which can expand a few lines to gigabytes), merge keys, dates and repeated
    keys are refused.

    Raises:
        RunError: if the file cannot be read, is larger than ``largest`` bytes or holds anything else.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(largest + 1)
        if len(text) > largest:
            raise RunError(f"{file} is damaged: no such file is larger than {largest:,} bytes")
        content = yaml.load(text.decode(), _PlainLoader)
    except (OSError, ValueError, ArithmeticError, RecursionError, yaml.YAMLError) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} holds something else than a mapping: expected lines such as `name: value`")
    return content


def check_kinds(content: dict[str, Any], file: Path, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """The content of a file, after checking that it holds these names with values of these types.

    Raises:
        RunError: if a name is missing or has a value of another type.
    """
    for name, kind in kinds.items():
        if name not in content:
            raise RunError(f"{file} is damaged: {name} missing")
        value = content[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise RunError(f"{file} is damaged: {name} cannot be {str(value)[:40]!r}")
    return content


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without tags, anchors, aliases, merge keys, dates and repeated keys."""

    # dates stay strings, and "<<" and "=" have no special meaning
    yaml_implicit_resolvers = {
        start: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] in ("null", "bool", "int", "float")]
        for start, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.YAMLError("plain files hold no YAML anchors or aliases")
        if event.tag is not None:
            raise yaml.YAMLError(f"plain files hold no YAML tags; got {event.tag[:80]!r}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen: set[str] = set()
        for key in keys:
            if not isinstance(key, str):
                raise yaml.YAMLError(f"names must be strings; got {str(key)[:80]!r}")
            if key in seen:
                raise yaml.YAMLError(f"{key[:80]!r} appears twice")
            seen.add(key)
        return super().construct_mapping(node, deep)
