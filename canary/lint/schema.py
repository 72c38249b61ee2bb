"""The schemas and CEL rules of our own CRDs held against one document, in words that say what to type instead.

The structure is checked against the JSON Schemas that editors use, so that an editor and `lint` never disagree; list
keys, defaults and CEL rules come from the CRDs themselves.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from canary.lint.findings import Finding, Path, Rule, Severity, field_of
from canary.lint.rules import violations
from canary.lint.source import Document
from canary.model import jsonschema as editor
from canary.model.checks import ARG_PATTERN, ARGS_NEED_A_TEMPLATE, FAILURES_PATTERN, NAME_PATTERN
from canary.model.cloudwatch import ID_PATTERN, PERIOD_PATTERN, REGION_PATTERN, STAT_PATTERN
from canary.model.crd import crds
from canary.model.databases import BASE_PATTERN, SELECT_PATTERN, SITE_PATTERN
from canary.model.gates import FROM_PATTERN, TO_PATTERN, ZONE_PATTERN
from canary.model.notifications import ADDRESS_PATTERN, KEY_PATTERN, LABEL_PATTERN, LABEL_VALUE_PATTERN
from canary.model.rollout import API_VERSION, GONE, GROUP
from canary.model.scaling import SIZE_PATTERN
from canary.model.scrape import METRIC_PATTERN, PATH_PATTERN, PORT_PATTERN
from canary.model.steps import STEP_ASKS
from canary.model.values import ALPHA_PATTERN, DURATION_PATTERN, LIMIT_TEMPLATE_PATTERN, SHARE_PATTERN
from canary.model.web import EXPECT_PAIRS, EXPECT_PAIRS_WORDS
from canary.model.workloads import API_VERSION_PATTERN, KIND_PATTERN

Json = dict[str, Any]

KINDS = ("Rollout", "CheckTemplate", "ClusterCheckTemplate", "NotificationTarget", "ClusterNotificationTarget")

_A_NAME = "a name: lower-case letters, digits and dashes, with a letter or digit at both ends"
_WORDS = {
    DURATION_PATTERN: 'a duration; write for example "30s", "5m" or "1h30m"',
    SHARE_PATTERN: 'a share of the pair in percent; write 0 to 100, such as 10, 0.5 or "0.5%"',
    LIMIT_TEMPLATE_PATTERN: 'a limit; write a number such as 0.01, or "1%", "300ms" or "{{ args.NAME }}"',
    ALPHA_PATTERN: 'a chance or part from 0.01 % to 49 %; write for example 0.01, or "1%"',
    FAILURES_PATTERN: 'a number of the last so many; write for example "2 of 5"',
    NAME_PATTERN: _A_NAME,
    editor.LABEL_NAME: _A_NAME,
    editor.OBJECT_NAME: f"{_A_NAME}; dots may stand between such parts",
    ARG_PATTERN: "the name of an argument: letters, digits, dashes and underscores",
    FROM_PATTERN: 'a time of day; write for example "09:00", in quotes',
    TO_PATTERN: 'a time of day; write for example "17:00", in quotes, or "24:00" for midnight',
    ZONE_PATTERN: "the name of a time zone in the IANA database; write for example Europe/Berlin",
    SIZE_PATTERN: "a size; write MatchShare, or a number of replicas from 1 to 1000",
    PORT_PATTERN: 'a port; write its number, or the name that it has in the Service, such as "metrics"',
    METRIC_PATTERN: "the name of a metric, such as http_requests_total; labels stand in `labels`",
    PATH_PATTERN: "a path, such as /metrics, without a query",
    BASE_PATTERN: "the base URL of a server; write for example https://influxdb.example.com:8086, without variables or a query",
    SELECT_PATTERN: "one SELECT in InfluxQL: a check only reads",
    SITE_PATTERN: "a site of Datadog; write for example datadoghq.com, datadoghq.eu or us5.datadoghq.com",
    REGION_PATTERN: "a region of Amazon's; write for example eu-west-1",
    PERIOD_PATTERN: "a period of CloudWatch; write 1m or a multiple such as 5m, or one of 1s, 5s, 10s, 20s and 30s",
    STAT_PATTERN: "a statistic of CloudWatch; write for example Sum, Average or p99",
    ID_PATTERN: "an id that an expression can name: a small letter, then letters, digits and underscores",
    ADDRESS_PATTERN: "an address; write for example https://hooks.example.com/canary",
    KEY_PATTERN: "the key of a Secret: letters, digits, dashes, dots and underscores",
    KIND_PATTERN: "a kind; write for example Deployment or StatefulSet",
    API_VERSION_PATTERN: "the group and version of an API; write for example apps.kruise.io/v1alpha1",
    LABEL_PATTERN: "the name of a label; write for example team, or example.com/team",
    LABEL_VALUE_PATTERN: "the value of a label: letters, digits, dashes, dots and underscores, 63 at most",
    r"^https?://.+$": "an address; write for example http://prometheus.monitoring:9090",
}
"""What a pattern wants, for people."""

_CONDITIONS = (
    (STEP_ASKS, "a step asks for something: weight, rules, mirror, match, gate or approval"),
    (ARGS_NEED_A_TEMPLATE, "args belong to a template"),
    (EXPECT_PAIRS, EXPECT_PAIRS_WORDS),
)
"""What a condition on the fields of an object wants, for people."""


def is_ours(document: Document) -> bool:
    """Whether the document is one of our kinds, or claims to be."""
    return document.group == GROUP


def check(document: Document) -> list[Finding]:
    """Everything that the API server would refuse or drop. Rules run only on well-formed documents, as there."""
    wrong = _version(document)
    if wrong is not None:
        return [wrong]
    errors, schema = Severity.ERROR, structural()[document.kind]
    findings = [
        document.finding(
            Severity.WARNING,
            Rule.SCHEMA,
            path,
            "the field is empty, so the API server drops it",
            "give it a value, or remove it",
        )
        for path in _nulls(document.content, schema, ())
    ]
    content, gone = _without_what_is_gone(document.kind, _without_nulls(document.content, schema))
    findings += [
        document.finding(
            Severity.WARNING,
            Rule.SCHEMA,
            ("spec", name),
            f"the field {name!r} is gone, and the API server drops it",
            f"declare the counters of both backends in {GONE[name]!r}",
        )
        for name in gone
    ]
    problems = [
        document.finding(errors, Rule.SCHEMA, path, message, advice)
        for error in _validator(document.kind).iter_errors(content)
        for path, message, advice in _translated(error)
    ]
    problems += [
        document.finding(errors, Rule.SCHEMA, path, message) for path, message in _doubles(content, schema, ())
    ]
    if not problems:
        whole = with_defaults(content, schema)
        problems = [document.finding(errors, Rule.CEL, path, words) for path, words in violations(whole, schema, ())]
    return findings + sorted(problems, key=lambda finding: (finding.line, finding.column))


def _without_what_is_gone(kind: str, content: Json) -> tuple[Json, list[str]]:
    """The document without fields of an earlier version, and the names of those it had."""
    spec = content.get("spec")
    if kind != "Rollout" or not isinstance(spec, dict):
        return content, []
    gone = [name for name in spec if name in GONE]
    if not gone:
        return content, []
    return {**content, "spec": {name: value for name, value in spec.items() if name not in gone}}, gone


def _version(document: Document) -> Finding | None:
    if document.kind not in KINDS:
        words = f"there is no kind {document.kind!r} in {GROUP}" if document.kind else "the object has no kind"
        advice = _meant(document.kind, KINDS) or f"the kinds are {', '.join(KINDS)}"
        return document.finding(Severity.ERROR, Rule.SCHEMA, ("kind",), words, advice)
    if document.api_version != API_VERSION:
        words = f"this version of canary knows no {document.api_version}"
        return document.finding(Severity.ERROR, Rule.SCHEMA, ("apiVersion",), words, f"write {API_VERSION}")
    return None


@lru_cache(maxsize=1)
def structural() -> dict[str, Json]:
    """The structural schemas by kind, without status."""
    found = {}
    for crd in crds().values():
        (version,) = crd["spec"]["versions"]
        whole: Json = version["schema"]["openAPIV3Schema"]
        properties = {name: sub for name, sub in whole["properties"].items() if name != "status"}
        found[str(crd["spec"]["names"]["kind"])] = {**whole, "properties": properties}
    return found


@lru_cache(maxsize=1)
def _reader() -> Any:
    """The class that holds JSON Schemas against documents as a real server does."""
    from jsonschema import Draft7Validator, validators
    from jsonschema.exceptions import ValidationError

    def pattern(_validator: Any, wanted: str, instance: Any, _schema: Json) -> Iterator[Any]:
        # In Go `$` is the end of the text; in Python a newline may follow.
        if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), instance):
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    def number(_checker: Any, instance: Any) -> bool:
        # JSON has neither NaN nor infinities, though YAML does.
        is_whole = isinstance(instance, int) and not isinstance(instance, bool)
        return is_whole or (isinstance(instance, float) and math.isfinite(instance))

    types = Draft7Validator.TYPE_CHECKER.redefine("number", number)
    return validators.extend(Draft7Validator, {"pattern": pattern}, type_checker=types)


@lru_cache(maxsize=len(KINDS))
def _validator(kind: str) -> Any:
    return _reader()(editor.schemas()[kind])


def _translated(error: Any) -> Iterator[tuple[Path, str, str]]:
    """(path, message, advice) for one objection of the library."""
    path: Path = tuple(error.absolute_path)
    value, bound = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties") or ())
            for name in value:
                if name not in known:
                    listed = f"known here: {', '.join(known)}" if known else "it takes no fields"
                    yield (*path, name), f"unknown field {name!r}", _meant(name, known) or listed
        case "required":
            missing = re.match(r"'(.*)' is a required property", error.message)
            name = missing[1] if missing else ""
            yield (*path, name), "required, and missing", ""
        case "anyOf":
            words = next((words for condition, words in _CONDITIONS if condition == bound), "")
            if words:
                yield path, words, ""
            else:  # of metadata: a name, or the start of one
                yield (*path, "name"), "the object has no name", ""
        case "type":
            wanted = " or ".join([bound] if isinstance(bound, str) else bound)
            yield path, f"must be {_a(wanted)}, and is {_a(_type(value))}", _as_text(value, error.schema)
        case "enum" if not isinstance(value, str):
            return  # it is of the wrong type, and that is said already
        case "enum":
            yield path, f"{value!r} is not one of {', '.join(map(str, bound))}", _meant(str(value), bound)
        case "const":
            yield path, f"must be {bound!r}", ""
        case "pattern":
            yield path, f"{value!r} is not {_WORDS.get(bound, f'of the form {bound}')}", ""
        case "minProperties":
            yield path, f"needs at least {bound} of: {', '.join(error.schema.get('properties') or ('them',))}", ""
        case keyword:
            yield (
                path,
                _BOUNDS[keyword].format(bound=bound, size=len(value) if hasattr(value, "__len__") else value),
                "",
            )


_BOUNDS = {
    "minimum": "{size} is less than {bound}, the least there may be",
    "maximum": "{size} is more than {bound}, the most there may be",
    "minLength": "must have at least {bound} characters",
    "maxLength": "has {size} characters; {bound} are allowed",
    "minItems": "needs at least {bound} of them",
    "maxItems": "has {size} of them; {bound} are allowed",
    "maxProperties": "has {size} of them; {bound} are allowed",
    "uniqueItems": "names something twice",
}


def _as_text(value: Any, schema: Json) -> str:
    """What to write instead of a number or boolean where text is wanted: only what would be taken."""
    if "string" not in schema["type"] or not isinstance(value, bool | int | float):
        return ""
    text = _shown(value)
    fits = _reader()(schema).is_valid
    if fits(text):
        return f'write it in quotes: "{text}"'
    if schema.get("pattern") == DURATION_PATTERN and fits(f"{text}s"):
        return f'write it with its unit, for example "{text}s" or "{text}ms"'
    if "enum" in schema:
        return f"it is one of {', '.join(map(str, schema['enum']))}"
    return f"it is {_WORDS[schema['pattern']]}" if schema.get("pattern") in _WORDS else ""


def _meant(name: str, known: Any) -> str:
    """`did you mean …?`, or nothing when nothing is close."""
    options = [str(item) for item in known]
    same = [option for option in options if option.lower() == name.lower().replace("_", "").replace("-", "")]
    close = same or difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _type(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "number that JSON has not"
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _a(words: str) -> str:
    words = words.replace("array", "list")
    return words if words == "null" else f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _below(value: Any, schema: Json) -> Iterator[tuple[str | int, Any, Json]]:
    """The parts of a value with their schemas."""
    if isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, member in value.items():
            sub = properties.get(name, additional)
            if isinstance(sub, dict):
                yield name, member, sub
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield index, item, schema["items"]


def _nulls(value: Any, schema: Json, path: Path) -> Iterator[Path]:
    for part, member, sub in _below(value, schema):
        if member is None and isinstance(part, str):
            yield (*path, part)
        yield from _nulls(member, sub, (*path, part))


def _without_nulls(value: Any, schema: Json) -> Any:
    """The value as the API server keeps it: fields without a value are gone."""
    known = {part: sub for part, _, sub in _below(value, schema)}
    if isinstance(value, dict):
        return {
            name: _without_nulls(member, known[name]) if name in known else member
            for name, member in value.items()
            if member is not None or name not in known
        }
    if isinstance(value, list) and known:
        return [_without_nulls(item, known[index]) for index, item in enumerate(value)]
    return value


def with_defaults(value: Any, schema: Json) -> Any:
    """A copy with the defaults of the CRD filled in, as rules see it."""
    if isinstance(value, dict):
        missing = {
            name: copy.deepcopy(sub["default"])
            for name, sub in (schema.get("properties") or {}).items()
            if "default" in sub and name not in value
        }
        value = {**value, **missing}
        parts = {part: with_defaults(member, sub) for part, member, sub in _below(value, schema)}
        return {**value, **parts}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items") or {}) for item in value]
    return value


def _doubles(value: Any, schema: Json, path: Path) -> Iterator[tuple[Path, str]]:
    """Entries of a list with keys that have the same ones."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys and isinstance(value, list):
        items = schema.get("items") or {}
        seen: list[Any] = []
        for index, item in enumerate(value):
            whole = with_defaults(item, items)
            identity = {key: whole.get(key) for key in keys} if isinstance(whole, dict) else item
            if identity in seen:
                first = field_of((*path, seen.index(identity)))
                shown = ", ".join(f"{key} {found}" for key, found in identity.items())
                yield (*path, index), f"the same as {first} ({shown}); list it once"
            seen.append(identity)
    for part, member, sub in _below(value, schema):
        yield from _doubles(member, sub, (*path, part))
