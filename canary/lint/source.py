"""YAML with the places of everything in it, read as the API server's clients read it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from canary.lint.findings import Finding, Path, Rule, Severity, field_of

Json = dict[str, Any]

LARGEST = 3 * 1024 * 1024
"""Bytes of one document. No API server takes a request of more; and to read a MiB takes a second, or several."""
MOST_NODES = 200_000
"""Values in one document, aliases spelled out. More is no manifest, and may be meant to exhaust the reader."""
DEEPEST = 100
TOO_LARGE = f"the document is too large: it has more than {MOST_NODES:,} values"
TOO_DEEP = f"the document is too deep: it has more than {DEEPEST} levels"
SPELLED_OUT = " once its aliases are spelled out"
REST = "everything after this place in the file was not looked at"

_INT, _FLOAT, _BOOL = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool"))
_OTHERWISE = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
"""What PyYAML reads a plain scalar as, and kubectl does not."""

PLAIN = (
    (_FLOAT, re.compile(r"[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+|0[0-9]*[89][0-9]*)$"), "-+.0123456789"),
    (_INT, re.compile(r"[-+]?0([oO][0-7][0-7_]*|[xX][0-9a-fA-F][0-9a-fA-F_]*|[bB][01][01_]*)$"), "-+0"),
    (_BOOL, re.compile(r"[yYnN]$"), "yYnN"),
)
"""What a plain scalar is besides for kubectl: tag, pattern and first letters. Who writes YAML for it puts such texts in quotes."""


class _TooMuchError(yaml.YAMLError):
    """A document has more in it than is read. It is said before the rest of it is read: that is what takes time."""

    def __init__(self, words: str, mark: yaml.Mark) -> None:
        super().__init__(words)
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: JSON has no dates, so what looks like one is text, as 17:00 and = are.

    1e-3 and 08 are numbers, and so is 0o17 to the base of 8; y and n are booleans. Reading raises _TooMuchError.
    """

    _began: yaml.Mark
    _count = _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A value, or (`index` None) the key of one, or a document (so is `parent`)."""
        if parent is None:
            self._began = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            self._count = self._depth = 0
        self._count += parent is None or index is not None
        self._depth += 1
        if self._count > MOST_NODES or self._depth > DEEPEST + 1:
            raise _TooMuchError(TOO_LARGE if self._count > MOST_NODES else TOO_DEEP, self._began)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in PLAIN:
    _Loader.add_implicit_resolver(_tag, _pattern, [*_first])


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A number; but not to the base of 60, which readers of YAML for Kubernetes do not know."""
    if ":" in node.value:
        return node.value
    if node.tag == _FLOAT:
        number = loader.construct_yaml_float(node)
        return node.value if math.isinf(number) and "inf" not in node.value.lower() else number  # too large: text
    digits = node.value.replace("_", "")
    try:
        return int(digits, 0)
    except ValueError:
        return int(digits, 8)  # 017


def _truth(loader: _Loader, node: yaml.ScalarNode) -> bool:
    return node.value in "yY" if len(node.value) == 1 else bool(loader.construct_yaml_bool(node))


for _kind in (_INT, _FLOAT):
    _Loader.add_constructor(_kind, _number)
_Loader.add_constructor(_BOOL, _truth)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One object of a file. `namespace` is what it says, or what it will get; `node` knows the places."""

    file: str
    content: Json
    node: yaml.Node = field(repr=False)
    default_namespace: str = "default"

    @property
    def kind(self) -> str:
        return _text(self.content.get("kind"))

    @property
    def api_version(self) -> str:
        return _text(self.content.get("apiVersion"))

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def metadata(self) -> Json:
        return _object(self.content.get("metadata"))

    @property
    def spec(self) -> Json:
        return _object(self.content.get("spec"))

    @property
    def name(self) -> str:
        return _text(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        return _text(self.metadata.get("namespace")) or self.default_namespace

    @property
    def subject(self) -> str:
        """Kind and name, with the namespace only if the document says it."""
        place = _text(self.metadata.get("namespace"))
        return f"{self.kind} {place}/{self.name}" if place else f"{self.kind} {self.name}".strip()

    def finding(
        self,
        severity: Severity,
        rule: Rule,
        path: Path,
        message: str,
        advice: str = "",
        *,
        inside: int = 0,
        reason: str = "",
    ) -> Finding:
        """A finding about the field at `path`; `inside` is the line, from 1, within a text that has several."""
        line, column = self.position(path, inside=inside)
        return Finding(severity, rule, message, self.file, line, column, self.subject, field_of(path), advice, reason)

    def position(self, path: Path, *, inside: int = 0) -> tuple[int, int]:
        """Line and column, from 1, of the field or of the nearest thing around it that exists."""
        mark, node = self.node.start_mark, self.node
        for part in path:
            found = _child(node, part)
            if found is None:
                return mark.line + 1, mark.column + 1
            mark, node = found
        if inside and isinstance(node, yaml.ScalarNode) and node.style == "|":
            return node.start_mark.line + 1 + inside, 1
        return mark.line + 1, mark.column + 1


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    if isinstance(node, yaml.MappingNode):
        merged: tuple[yaml.Mark, yaml.Node] | None = None
        for key, value in node.value:
            if key.value == part:
                return key.start_mark, value
            if key.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                merged = merged or next((found for source in sources if (found := _child(source, part))), None)
        return merged
    return None


def read(text: str, file: str, namespace: str = "default") -> tuple[list[Document], list[Finding]]:
    """All objects of a file, Lists taken apart, and what cannot be read of it."""
    if file.endswith(".json"):
        text = text.replace("\t", " ")  # YAML allows no tabs where JSON does; inside strings JSON allows none
    documents: list[Document] = []
    text, findings = _bounded(text, file)
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # characters that YAML does not allow
        return [], [*findings, _unreadable(error, file, text)]
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            oddities = list(_oddities(node, file))
            findings += oddities
            if any(finding.severity is Severity.ERROR for finding in oddities):
                continue
            content = _plain(loader.construct_document(node))
            if content is not None:
                found, wrong = _objects(content, node, file, namespace)
                documents += found
                findings += wrong
    except _TooMuchError as error:
        findings.append(Finding(Severity.ERROR, Rule.YAML, str(error), file, error.mark.line + 1, 1, advice=REST))
    except yaml.YAMLError as error:
        findings.append(_unreadable(error, file, text))
    except ValueError as error:  # a scalar that its tag does not allow, such as `!!int x`
        findings.append(Finding(Severity.ERROR, Rule.YAML, f"a value cannot be read: {error}", file))
    finally:
        loader.dispose()
    return documents, findings


def _bounded(text: str, file: str) -> tuple[str, list[Finding]]:
    """The text with nothing but lines for each document that is too large to be read, and what is said of these."""
    if len(text) * 4 <= LARGEST or len(text.encode()) <= LARGEST:
        return text, []
    kept: list[str] = []
    findings: list[Finding] = []
    line = 1
    for document in _DOCUMENTS.split(text):
        size, ends = len(document.encode()), _LINES.findall(document)
        if size > LARGEST:
            words = f"the document has {size / 2**20:.1f} MiB, and no more than {LARGEST // 2**20} MiB are read of one"
            advice = "no API server takes as much in one request; give the items of a List as documents of their own"
            findings.append(Finding(Severity.ERROR, Rule.YAML, words, file, line, 1, advice=advice))
        kept.append("".join(f" {end}" for end in ends) if size > LARGEST else document)
        line += len(ends)
    return "".join(kept), findings


def _objects(content: Any, node: yaml.Node, file: str, namespace: str) -> tuple[list[Document], list[Finding]]:
    if not isinstance(content, dict):
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        words = "this is no object with apiVersion, kind and metadata"
        return [], [Finding(Severity.WARNING, Rule.YAML, words, file, line, column, advice="it is ignored")]
    items = content.get("items")
    found = _child(node, "items")
    if str(content.get("kind", "")).endswith("List") and isinstance(items, list) and found is not None:
        nodes = found[1].value
        return [
            Document(file, item, place, namespace)
            for item, place in zip(items, nodes, strict=True)
            if isinstance(item, dict)
        ], []
    return [Document(file, content, node, namespace)], []


def _oddities(node: yaml.Node, file: str) -> Iterator[Finding]:
    """What PyYAML takes and a manifest must not have: keys given twice, endless aliases."""
    count = 0
    met: set[int] = set()
    aliases = False
    todo: list[tuple[yaml.Node, int]] = [(node, 0)]
    while todo:
        current, depth = todo.pop()
        count += 1
        if count > MOST_NODES or depth > DEEPEST:
            words = (TOO_LARGE if count > MOST_NODES else TOO_DEEP) + (SPELLED_OUT if aliases else "")
            yield Finding(Severity.ERROR, Rule.YAML, words, file, node.start_mark.line + 1, 1)
            return
        again = id(current) in met
        aliases = aliases or again
        met.add(id(current))
        if isinstance(current, yaml.SequenceNode):
            todo += [(item, depth + 1) for item in current.value]
        elif isinstance(current, yaml.MappingNode):
            if not again:
                yield from _doubles(current, file)
            todo += [(value, depth + 1) for _, value in current.value]


def _doubles(node: yaml.MappingNode, file: str) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line, column = key.start_mark.line + 1, key.start_mark.column + 1
        if key.value in seen:
            words = f"the key {key.value!r} is given twice, first in line {seen[key.value]}"
            advice = "only the last one would count: remove one"
            yield Finding(Severity.ERROR, Rule.YAML, words, file, line, column, field=key.value, advice=advice)
        seen.setdefault(key.value, line)


_TEMPLATED = re.compile(r"([^#\"'`|>]*:|[ -]*) *\{\{")
"""What Helm puts where YAML wants a value, or on a line of its own; a variable of a query stands inside a text."""

_LINES = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What ends a line in YAML."""

_DOCUMENTS = re.compile(r"(?<![^\r\n\x85\u2028\u2029])(?=---(?:[ \t\r\n\x85\u2028\u2029]|$))")
"""Where a document begins: nothing else in YAML may look so, not even within a text."""


def _unreadable(error: yaml.YAMLError, file: str, text: str) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = str(getattr(error, "problem", "") or getattr(error, "reason", "") or error).splitlines()[0]
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    advice = REST
    if mark is not None and any(map(_TEMPLATED.match, _LINES.split(text)[mark.line : mark.line + 1])):
        words = f"{words}; the file looks like a template, and a template is no manifest"
        advice = "render it first, as in `helm template CHART | canary lint -`"
    return Finding(Severity.ERROR, Rule.YAML, f"not YAML: {words}", file, line, column, advice=advice)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: keys are text."""
    match value:
        case dict():
            return {_key(key): _plain(member) for key, member in value.items()}
        case list() | tuple() | set():
            return [_plain(member) for member in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
