"""A request over HTTP as a source: where it goes is literal, and what is filled in stays where it was put.

A value in the URL is percent-encoded, so it is a part of one segment or of one parameter. A value in the body stays in the JSON
string in which its tag stands. Scheme, host and port take no values at all: whoever gives an argument chooses neither whom the
controller asks nor whom it shows a Secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks import jsonpath, percent
from canary.checks.headers import belongs_in_a_secret, may_be_a_value, refused_header
from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.errors import RenderError
from canary.model.gates import HttpGate
from canary.model.web import Expect, WebRequest, WebSource

_PARTS = re.compile(r"(?P<scheme>https?)://(?P<place>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_URL = re.compile(r"[!-~]*")

_BODY = "web.body"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the answer has to be: its status, and `equals` (JSON, or a text) at `path`, if that is given."""

    status: tuple[int, ...]
    path: str | None = None
    equals: str = ""

    @classmethod
    def of(cls, declared: Expect) -> Self:
        return cls(declared.status or (200,), declared.json_path, declared.equals or "")

    @property
    def words(self) -> str:
        """`200`, or `200 with $.status = ok`."""
        status = " or ".join(map(str, self.status))
        return status if self.path is None else f"{status} with {self.path} = {self.equals}"

    def is_met_by(self, value: Any) -> bool:
        """Whether a value at the place is what has to be there."""
        if isinstance(value, str) and value == self.equals:
            return True
        try:
            return jsonpath.equal(value, json.loads(self.equals))
        except (ValueError, RecursionError):
            return False


@dataclass(frozen=True, slots=True)
class Web:
    """A request, and what is made of its answer: the number at `path`, or whether it is as `expected`.

    `tells`: where the answer has a text for people; empty: it is one itself; None: nobody wants to read it.
    """

    PROVIDER: ClassVar[str] = "the server"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("web", "url")

    url: str
    method: str = "GET"
    headers: Pairs = ()
    body: str | None = None
    form: Pairs | None = None
    path: str | None = None
    expected: Expected | None = None
    auth: Auth | None = None
    tells: str | None = None

    @classmethod
    def of(cls, declared: WebSource) -> Self:
        expected = None if declared.expect is None else Expected.of(declared.expect)
        return replace(cls._request(declared), path=declared.json_path, expected=expected)

    @classmethod
    def of_gate(cls, declared: HttpGate) -> Self:
        """What a gate asks: whether a run may go on, and what people are to read of that."""
        expected = Expected.of(declared.expect or Expect())
        return replace(cls._request(declared), expected=expected, tells=declared.message or "")

    @classmethod
    def _request(cls, declared: WebRequest) -> Self:
        return cls(
            declared.url,
            declared.method.value,
            tuple((one.name, one.value) for one in declared.headers),
            declared.body,
            None if declared.form is None else tuple((one.name, one.value) for one in declared.form),
            auth=Auth.of(declared.auth),
        )

    @property
    def text(self) -> str:
        return " ".join(filter(None, (self.method, self.url, self.path)))

    @property
    def origin(self) -> str:
        """Scheme, host and port, as they are written."""
        found = _parts(self.url)
        return f"{found['scheme']}://{found['place']}"

    @property
    def content(self) -> tuple[str, bytes] | None:
        """What is sent, and of which type; None: nothing. Of a rendered request."""
        if self.body is not None:
            return "application/json", self.body.encode()
        if self.form is not None:
            return "application/x-www-form-urlencoded", percent.form(self.form).encode()
        return None

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Web], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        self._check()
        found = [_names_in("url", _parts(self.url)["rest"])]
        found += [_names_in(f"headers[{index}].value", value) for index, (_, value) in enumerate(self.headers)]
        found += [_names_in(f"form[{index}].value", value) for index, (_, value) in enumerate(self.form or ())]
        found += [_names_in("body", text) for text in (() if self.body is None else _strings(_json(self.body)))]
        found += [] if self.expected is None else [_names_in("expect.equals", self.expected.equals)]
        return frozenset().union(*found)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        self._check()

        def pairs(given: Pairs, what: str, field: str) -> Pairs:
            return tuple(
                (name, _in(f"{what} {name}", value, variables, field=f"{field}[{index}].value"))
                for index, (name, value) in enumerate(given)
            )

        headers = pairs(self.headers, "header", "headers")
        for index, (name, value) in enumerate(headers):
            if not may_be_a_value(value):
                words = f"header {name}: a value of a header is ASCII on one line"
                raise RenderError(words, field=f"web.headers[{index}].value")
        expected = self.expected
        return replace(
            self,
            url=self._url(variables),
            headers=headers,
            body=None if self.body is None else _filled(self.body, variables),
            form=None if self.form is None else pairs(self.form, "form field", "form"),
            expected=None
            if expected is None
            else replace(expected, equals=_in("expect.equals", expected.equals, variables, field="expect.equals")),
            auth=bound(self.auth, variables),
        )

    def _url(self, variables: Mapping[str, Any]) -> str:
        found = _parts(self.url)
        rest = _in("url", found["rest"], variables, percent.encoded, field="url")
        if percent.leads_elsewhere(rest.partition("?")[0]):
            raise RenderError("url: a segment of the path is . or .., which leads elsewhere")
        if not _URL.fullmatch(rest) or "#" in rest or "\\" in rest:
            raise RenderError(
                "url: it may not contain spaces, fragments (#), backslashes or anything but ASCII; encode them"
            )
        return f"{self.origin}{rest if rest.startswith('/') else '/' + rest}"

    def _check(self) -> None:
        """Raises RenderError: it can never be asked, whatever is filled in."""
        found = _parts(self.url)
        if "{" in found["place"] or "}" in found["place"]:
            raise RenderError(
                "url: scheme, host and port may not contain variables: whom the controller asks is written out"
            )
        if "@" in found["place"] or not found["place"] or not _URL.fullmatch(found["place"]):
            raise RenderError("url: it needs a host, and no user or password; name a Secret in auth.secretRef")
        for index, (name, _) in enumerate(self.headers):
            refused, field = refused_header(name), f"web.headers[{index}].name"
            if refused:
                raise RenderError(f"headers: {refused}", field=field)
            if belongs_in_a_secret(name):
                raise RenderError(f"headers: {name} is for a Secret: name one in auth.secretRef", field=field)
        places = {
            "web.jsonPath": self.path,
            "web.expect.jsonPath": self.expected.path if self.expected is not None else None,
            "message": self.tells or None,
        }
        for field, path in places.items():
            try:
                if path is not None:
                    jsonpath.check(path)
            except ValueError as error:
                raise RenderError(f"jsonPath: {error}", field=field) from error
        if self.body is not None:
            _json(self.body)


def _parts(url: str) -> Mapping[str, str]:
    found = _PARTS.fullmatch(url)
    if found is None:
        raise RenderError("url: it is no http:// or https:// URL")
    return found.groupdict()


def _in(
    place: str, template: str, variables: Mapping[str, Any], escape: Callable[[str], str] = str, *, field: str
) -> str:
    try:
        return render(template, variables, escape)
    except RenderError as error:
        raise RenderError(f"{place}: {error}", variable=error.variable, field=f"web.{field}") from error


def _names_in(field: str, template: str) -> frozenset[str]:
    try:
        return names(template)
    except RenderError as error:
        raise RenderError(str(error), variable=error.variable, field=f"web.{field}") from error


def _json(body: str) -> Any:
    """The body with its tags. Raises RenderError: it is no JSON, or a tag is in no string or in a name."""
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        words = '{{ }} stands only in its strings, as "{{ weight }}"' if "{{" in body else "see a JSON checker"
        raise RenderError(f"body: it is no JSON ({error}); {words}", field=_BODY) from error
    for name in _members(found):
        if "{{" in name or "}}" in name:
            raise RenderError("body: names of members may not contain variables", field=_BODY)
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _filled(body: str, variables: Mapping[str, Any]) -> str:
    def filled(value: Any) -> Any:
        match value:
            case str():
                return _in("body", value, variables, field="body")
            case dict():
                return {name: filled(member) for name, member in value.items()}
            case list():
                return [filled(member) for member in value]
            case _:
                return value

    return json.dumps(filled(_json(body)), separators=(",", ":"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(member)


def _members(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _members(member)
