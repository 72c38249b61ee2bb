"""From `x-kubernetes-validations` to something that can be checked and run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cel

from canary.checks.cel_parser import Call, CelSyntaxError, Node, names_used, parse, walk
from canary_sandbox.apiserver.cel_cost import CelTypeError, estimate
from canary_sandbox.apiserver.cel_functions import FUNCTIONS, KUBERNETES_ONLY, NATIVE
from canary_sandbox.apiserver.cel_shapes import DYN, Shape
from canary_sandbox.apiserver.errors import DUPLICATE, FORBIDDEN, INVALID, REQUIRED, Json

REASONS = {
    "FieldValueInvalid": INVALID,
    "FieldValueForbidden": FORBIDDEN,
    "FieldValueRequired": REQUIRED,
    "FieldValueDuplicate": DUPLICATE,
}
_TYPE_NAMES = dict.fromkeys(
    (
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "timestamp",
        "type",
        "uint",
    ),
    DYN,
)
_FIELD_PATH = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]")
_OPTIONAL_SYNTAX = re.compile(r"\.\?|\[\?")


@dataclass(frozen=True, slots=True)
class Program:
    """One expression. `problem` says why it is wrong, `limitation` why it is right but not evaluated here."""

    source: str
    run: Callable[[dict[str, Any]], Any] | None = None
    problem: str = ""
    limitation: str = ""
    cost: int = 0
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation rule. `kind` is the wording of its objection; `below` the path it points to, relative to self."""

    program: Program
    message: str
    message_program: Program | None
    kind: str
    below: str
    optional_old: bool
    problems: tuple[tuple[str, str], ...] = field(default=())
    """(member, problem) pairs: what is wrong with the rule itself."""

    @property
    def is_transition(self) -> bool:
        return "oldSelf" in self.program.variables

    @property
    def limitation(self) -> str:
        return self.program.limitation or (self.message_program.limitation if self.message_program else "")


def compile_rule(raw: Json, shape: Shape) -> Rule:
    """Compile one entry of `x-kubernetes-validations` against the shape of `self`. Never raises."""
    optional_old = bool(raw.get("optionalOldSelf"))
    scope = {"self": shape, "oldSelf": DYN if optional_old else shape}
    source = raw.get("rule", "")
    problems: list[tuple[str, str]] = []
    if not source.strip():
        problems.append(("rule", "rule is not specified"))
    program = compile_expression(source, scope, "bool")
    if source.strip() and program.problem:
        problems.append(("rule", program.problem))
    message_program = None
    if raw.get("messageExpression"):
        message_program = compile_expression(raw["messageExpression"], scope, "string")
        if message_program.problem:
            problems.append(("messageExpression", message_program.problem))
    reason = raw.get("reason", "FieldValueInvalid")
    if reason not in REASONS:
        problems.append(("reason", f"unsupported reason {reason}"))
    below, path_problem = _field_path(raw.get("fieldPath", ""), shape)
    if path_problem:
        problems.append(("fieldPath", path_problem))
    return Rule(
        program, raw.get("message", ""), message_program, REASONS.get(reason, INVALID), below, optional_old,
        tuple(problems),
    )  # fmt: skip


def compile_expression(source: str, scope: dict[str, Shape], wanted: str) -> Program:
    """Compile one expression that must come to `wanted` (bool or string)."""
    if _OPTIONAL_SYNTAX.search(_without_strings(source)):
        return Program(source, limitation="optional field selection (`.?`) is not evaluated here")
    try:
        program = cel.compile(source)
    except (ValueError, RuntimeError) as error:
        return Program(source, problem=f"compilation failed: {_one_line(error)}")
    try:
        tree = parse(source)
    except CelSyntaxError as error:
        return Program(source, problem=f"compilation failed: {_located(source, str(error), error.position)}")
    unknown, limitation = _functions(tree)
    if unknown:
        return Program(source, problem=f"compilation failed: undeclared reference to '{unknown}' (in container '')")
    variables = frozenset(names_used(tree))
    try:
        result = estimate(tree, {**_TYPE_NAMES, **scope})
    except CelTypeError as error:
        if limitation:
            return Program(source, limitation=limitation, variables=variables)
        return Program(source, problem=f"compilation failed: {_located(source, str(error), error.position)}")
    if result.shape.kind not in {wanted, "dyn"}:
        return Program(source, problem=f"cel expression must evaluate to a {wanted}", cost=result.cost)
    run = None if limitation else _runner(program, tree)
    return Program(source, run, "", limitation, result.cost, variables)


def _runner(program: Any, tree: Node) -> Callable[[dict[str, Any]], Any]:
    used = [name for name in _called(tree) if name in FUNCTIONS]
    if not used:
        run: Callable[[dict[str, Any]], Any] = program.execute
        return run
    context = cel.Context()
    for name in used:
        context.add_function(name, FUNCTIONS[name])

    def run_with_functions(variables: dict[str, Any]) -> Any:
        for name, value in variables.items():
            context.add_variable(name, value)
        return program.execute(context)

    return run_with_functions


def _called(tree: Node) -> set[str]:
    """Names of the functions called, namespaced ones in full."""
    names = set()
    for part in walk(tree):
        if isinstance(part, Call) and part.function[0].isalpha():
            target = getattr(part.target, "name", "")
            qualified = f"{target}.{part.function}"
            names.add(qualified if qualified in FUNCTIONS or qualified in NATIVE | KUBERNETES_ONLY else part.function)
    return names


def _functions(tree: Node) -> tuple[str, str]:
    """(a function that no server knows, a limitation for one that only a real server knows); both may be empty."""
    called = _called(tree)
    unknown = sorted(called - NATIVE - KUBERNETES_ONLY - FUNCTIONS.keys())
    missing = sorted((called & KUBERNETES_ONLY) - NATIVE - FUNCTIONS.keys())
    limitation = f"function {', '.join(missing)} is not evaluated here" if missing else ""
    return (unknown[0] if unknown else ""), limitation


def _without_strings(source: str) -> str:
    return re.sub(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", "''", source, flags=re.DOTALL)


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _located(source: str, message: str, position: int) -> str:
    line = source.count("\n", 0, position) + 1
    column = position - (source.rfind("\n", 0, position) + 1) + 1
    return f"ERROR: <input>:{line}:{column}: {message}"


def _field_path(path: str, shape: Shape) -> tuple[str, str]:
    """A fieldPath as it is shown, and what is wrong with it."""
    if not path:
        return "", ""
    at, shown = 0, ""
    while at < len(path):
        found = _FIELD_PATH.match(path, at)
        if not found:
            return "", f"fieldPath must be a valid path: {path}"
        name = found.group(1) or found.group(2)
        if shape.kind == "object" and name not in shape.fields and name.replace("-", "__dash__") not in shape.fields:
            return "", f"fieldPath must be a valid path: does not refer to a valid field: {path}"
        shape = shape.fields.get(name, DYN) if shape.kind == "object" else (shape.element or DYN)
        shown += f".{name}"
        at = found.end()
    return shown, ""
