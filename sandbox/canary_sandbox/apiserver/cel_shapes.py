"""What CEL sees of a schema: types, and how large their values can get.

Sizes without a declared bound are bounded by the size of a request, as the real server bounds them: a list of objects
that take at least ten bytes each holds at most (3 MiB - 2) / 11 of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from canary_sandbox.apiserver.errors import Json

REQUEST_BYTES = 3 * 1024 * 1024
UNBOUNDED = 2**64 - 1
_BYTES_PER_CHARACTER = 4
_RESERVED = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))


def escape(name: str) -> str:
    """The name of a property in an expression."""
    if name in _RESERVED:
        return f"__{name}__"
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name


@dataclass(frozen=True, slots=True)
class Shape:
    """A type. `size` is the greatest number of elements (bytes of text); `smallest` the least bytes of its JSON.

    `kind` is a CEL type name, with `object` for a message with known `fields` and `dyn` for anything.
    """

    kind: str
    size: int = 1
    element: Shape | None = None
    fields: dict[str, Shape] = field(default_factory=dict)
    smallest: int = 2


DYN = Shape("dyn", UNBOUNDED)
BOOL = Shape("bool", smallest=4)
INT = Shape("int", smallest=1)
DOUBLE = Shape("double", smallest=1)
STRING = Shape("string", REQUEST_BYTES - 2)
TIMESTAMP = Shape("timestamp", 32, smallest=22)
DURATION = Shape("duration", 32)
_SCALARS = {"boolean": BOOL, "integer": INT, "number": DOUBLE}
_FORMATS = {"date": Shape("timestamp", 12, smallest=12), "date-time": TIMESTAMP, "duration": DURATION}
_OBJECT_META = Shape("object", fields={"name": Shape("string", 253), "generateName": Shape("string", 253)})


def shape_of(schema: Json, *, root: bool = False) -> Shape:
    """The shape of a structural schema. `root` adds what every object has: apiVersion, kind and names."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    match schema.get("type"):
        case "object":
            return _object(schema, root=root or bool(schema.get("x-kubernetes-embedded-resource")))
        case "array":
            element = shape_of(schema.get("items") or {})
            bound = schema.get("maxItems", (REQUEST_BYTES - 2) // (element.smallest + 1))
            return Shape("list", bound, element)
        case "string":
            return _string(schema)
        case "boolean" | "integer" | "number" as scalar:
            return _SCALARS[scalar]
        case _:
            return DYN


def _is_seen(schema: Json) -> bool:
    """Whether expressions see a value at all: one without a type is not there for them, nor a collection of such."""
    if schema.get("x-kubernetes-int-or-string"):
        return True
    within = {"array": "items", "object": "additionalProperties"}.get(schema.get("type", ""))
    element = schema.get(within) if within else None
    return _is_seen(element) if isinstance(element, dict) else "type" in schema


def _object(schema: Json, *, root: bool) -> Shape:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        element = shape_of(additional)
        bound = schema.get("maxProperties", (REQUEST_BYTES - 2) // (element.smallest + 6))
        return Shape("map", bound, element)
    properties = schema.get("properties") or {}
    fields = {escape(name): shape_of(sub) for name, sub in properties.items() if _is_seen(sub)}
    required = schema.get("required") or ()
    smallest = 2 + sum(
        len(name) + 4 + fields[escape(name)].smallest
        for name, sub in properties.items()
        if name in required and "default" not in sub and _is_seen(sub)
    )
    if root:
        fields |= {"apiVersion": Shape("string", 320), "kind": Shape("string", 63), "metadata": _OBJECT_META}
    return Shape("object", fields=fields, smallest=smallest)


def _string(schema: Json) -> Shape:
    kind = schema.get("format", "")
    if kind in _FORMATS:
        return _FORMATS[kind]
    type_name = "bytes" if kind == "byte" else "string"
    if schema.get("enum"):
        lengths = [len(str(value).encode()) for value in schema["enum"]]
        return Shape(type_name, max(lengths), smallest=min(lengths) + 2)
    if "maxLength" in schema:
        return Shape(type_name, schema["maxLength"] * _BYTES_PER_CHARACTER)
    return Shape(type_name, STRING.size)
