"""Merging an applied configuration into an object, and taking away what is no longer applied. By schema; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.fieldpaths import Path, element_of, is_granular, member_schema, parts


def merged(live: Any, config: Any, schema: Json) -> Any:
    """`live` with all that `config` says. Shares unchanged parts with both."""
    if type(live) is not type(config) or not is_granular(config, schema) or not is_granular(live, schema):
        return config
    if isinstance(config, dict):
        result = dict(live)
        for name, value in config.items():
            result[name] = merged(live[name], value, member_schema(schema, name)) if name in live else value
        return result
    return _merged_list(live, config, schema)


def _merged_list(live: list[Any], config: list[Any], schema: Json) -> list[Any]:
    """Applied elements in their order; those that only the object has keep their place before what follows them."""
    items = schema.get("items") or {}
    before = {element_of(item, schema): item for item in live}
    after = {element_of(item, schema): item for item in config}
    left, right = list(before), list(after)
    shared = [element for element in right if element in before]
    result = []
    while left or right:
        if left and left[0] not in after:
            result.append(before[left.pop(0)])
        elif left and right and left[0] != right[0] and shared and shared[0] != left[0]:
            left.pop(0)  # it comes when its turn in the configuration comes
        elif right:
            element = right.pop(0)
            if left and left[0] == element:
                left.pop(0)
            if shared and shared[0] == element:
                shared.pop(0)
            result.append(merged(before[element], after[element], items) if element in before else after[element])
        else:
            left.pop(0)
    return result


def without(value: Any, paths: Collection[Path], schema: Json) -> Any:
    """`value` less the fields at `paths`, each with all that is in it."""
    by_element: dict[str, list[Path]] = {}
    for first, *rest in paths:
        by_element.setdefault(first, []).append(tuple(rest))
    if not by_element or not is_granular(value, schema):
        return value
    kept = {}
    for element, (sub, sub_schema) in parts(value, schema).items():
        gone = by_element.get(element, [])
        if () not in gone:
            kept[element] = without(sub, gone, sub_schema) if gone else sub
    if isinstance(value, dict):
        return {element.removeprefix("f:"): sub for element, sub in kept.items()}
    return list(kept.values())
