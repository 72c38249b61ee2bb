"""Query templates: `{{ canary.service }}` becomes a name. Pure.

This is deliberately not Jinja. A template is written by an app team and rendered by a controller with rights of its own,
so it gets names and nothing else: no expressions, filters, loops or attributes of Python objects; and because every name
is visible in the text, an unknown one is found before anything runs, and `names()` can list them.

- A tag is `{{ name }}` or `{{ group.name }}`; spaces inside do not matter.
- Single braces are PromQL's own and pass untouched: `up{job="x"}`; in `up{{{ args.labels }}}` the inner pair is the tag.
- PromQL has `{{` and `}}` only inside string literals, if at all; write `{{ "{{" }}` and `{{ "}}" }}` to get them.
- Values are put in as text. A value may not contain `"`, `'`, a backtick, a backslash or a control character: it could
  end the string literal it stands in and change what is measured. Such a value is refused, not escaped, since the
  right escape depends on which of PromQL's three kinds of literals surrounds the tag.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from canary.errors import RenderError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*")
_OPEN = re.compile(r"\{\{(?!\{)")
_LITERALS = {'"{{"': "{{", '"}}"': "}}"}
_ESCAPE = re.compile(r'\{\{\s*("\{\{"|"\}\}")\s*\}\}')
_BREAKS_OUT = re.compile(r"[\"'`\\\x00-\x1f\x7f\u2028\u2029]")

BACKEND_NAMES = ("service", "namespace", "port")
KNOWN = frozenset(
    {f"{backend}.{name}" for backend in ("stable", "canary") for name in BACKEND_NAMES}
    | {"namespace", "rollout", "route", "window", "weight", "step.kind"}
)
"""Every name that a template may use, besides `args.<name>`."""


def variables(
    *,
    stable: Mapping[str, object],
    canary: Mapping[str, object],
    namespace: str,
    rollout: str,
    route: str,
    window: str,
    weight: float,
    step: str = "weight",
    args: Mapping[str, object] | None = None,
    backend: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """What `render` takes. `stable` and `canary` have service, namespace and port; `window` is text such as "1m".

    `weight` is the canary's share in percent of the pair; `step` is what the step is about: mirror, match, weight, gate or approval; `args` are those of the check, defaults filled in.
    `backend` is the one of both that a query is rendered for, where it is rendered once for each; elsewhere there is none.
    """
    return {
        **({} if backend is None else {"backend": {name: backend[name] for name in BACKEND_NAMES}}),
        "stable": {name: stable[name] for name in BACKEND_NAMES},
        "canary": {name: canary[name] for name in BACKEND_NAMES},
        "namespace": namespace,
        "rollout": rollout,
        "route": route,
        "window": window,
        "weight": weight,
        "step": {"kind": step},
        "args": dict(args or {}),
    }


def names(template: str) -> frozenset[str]:
    """The names that the template uses. Raises RenderError for malformed tags."""
    return frozenset(piece for is_name, piece in _pieces(template) if is_name)


def render(template: str, variables: Mapping[str, Any], escape: Callable[[str], str] = str) -> str:
    """The template with every tag replaced. `variables` is nested: `{"canary": {"service": "shop"}}`.

    `escape` makes of a value what may stand in the text around it, where that is more than quotes can do.

    Raises RenderError for an unknown name (with the known ones), a malformed tag, or a value that could break out.
    """
    return "".join(escape(_value(piece, variables)) if is_name else piece for is_name, piece in _pieces(template))


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """The template cut into (True, name) and (False, literal text)."""
    position = 0
    while True:
        opening = _OPEN.search(template, position)
        literal = template[position : opening.start() if opening else None]
        if "}}" in literal:
            where = _line(template, position + literal.index("}}"))
            raise RenderError(
                f'line {where}: "}}}}" without "{{{{" before it; write {{{{ "}}}}" }}}} for the text itself'
            )
        yield False, literal
        if opening is None:
            return
        escape = _ESCAPE.match(template, opening.start())
        if escape:
            yield False, _LITERALS[escape[1]]
            position = escape.end()
            continue
        end = template.find("}}", opening.end())
        if end < 0:
            raise RenderError(f'line {_line(template, opening.start())}: "{{{{" is never closed')
        name = template[opening.end() : end].strip()
        if not _NAME.fullmatch(name):
            raise RenderError(
                f"line {_line(template, opening.start())}: {name!r} is no name; only names such as canary.service may"
                " stand between {{ and }}",
                variable=name,
            )
        yield True, name
        position = end + 2


def _line(template: str, position: int) -> int:
    return template.count("\n", 0, position) + 1


def _value(name: str, variables: Mapping[str, Any]) -> str:
    found: Any = variables
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise RenderError(_unknown(name, variables), variable=name)
        found = found[part]
    if isinstance(found, Mapping):
        inside = ", ".join(f"{name}.{part}" for part in found) or "nothing"
        raise RenderError(f"{name!r} is a group of variables ({inside}), not a value", variable=name)
    text = _text(found)
    if text is None:
        more = "; add it to args, or give the template a default" if name.startswith("args.") else ""
        raise RenderError(f"{name!r} has no value here{more}", variable=name)
    bad = _BREAKS_OUT.search(text)
    if bad:
        message = f"the value of {name!r} contains {bad[0]!r}: quotes, backslashes and control characters are refused"
        raise RenderError(message, variable=name)
    return text


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _unknown(name: str, variables: Mapping[str, Any]) -> str:
    known = sorted(_flat(variables))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown variable {name!r}{hint}; known: {', '.join(known)}"


def _flat(variables: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in variables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
