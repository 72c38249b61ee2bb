"""A request over HTTP whose answer is a number, or is what is expected."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from canary.model.auth import MAX_HEADERS, Auth, HeaderName
from canary.model.base import ApiModel
from canary.model.values import ArgumentText

MAX_URL = 2048
MAX_BODY = 8192
MAX_JSON_PATH = 512

_ONE_ANSWER = "what is made of the answer is either a number (jsonPath) or whether it is as expected (expect): give one"
_BODY_IS_POSTED = "body and form are sent by POST, one of them: set method: POST, and leave the other out"
EXPECT_PAIRS_WORDS = "expect.jsonPath and expect.equals belong together: the place, and what has to be there"


class Method(StrEnum):
    """How it is asked."""

    GET = "GET"
    POST = "POST"


class WebHeader(ApiModel):
    """A header of the request."""

    name: HeaderName
    value: Annotated[
        str, Field(max_length=1024, description="Its value; may use {{ }} variables. For an API key use auth.headers.")
    ]


class FormField(ApiModel):
    """A field of a form."""

    name: Annotated[str, Field(min_length=1, max_length=128, description="Name of the field.")]
    value: Annotated[str, Field(max_length=MAX_BODY, description="Its value; may use {{ }} variables.")]


JsonPathText = Annotated[str, Field(min_length=1, max_length=MAX_JSON_PATH, pattern=r"^\$.*$")]


EXPECT_PAIRS: list[Any] = [
    {"required": ["jsonPath", "equals"]},
    {"not": {"anyOf": [{"required": ["jsonPath"]}, {"required": ["equals"]}]}},
]
"""Both or neither. A condition and no rule: rules do not see `equals`, which may be of any type."""


class Expect(ApiModel):
    """What the answer has to be. The check passes if it is, and fails if it is not."""

    model_config = {"json_schema_extra": {"anyOf": EXPECT_PAIRS}}

    status: Annotated[
        Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(min_length=1, max_length=16)] | None,
        Field(
            description="Status codes that are good. Default: 200.", json_schema_extra={"x-kubernetes-list-type": "set"}
        ),
    ] = None
    json_path: Annotated[
        JsonPathText | None, Field(description="JSONPath (RFC 9535) of one place in the answer, such as $.status.")
    ] = None
    equals: Annotated[
        ArgumentText | None,
        Field(
            description='What has to be there: JSON, such as true, 42 or {"state": "green"}, or a text as it is. May use {{ }} variables.'
        ),
    ] = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.json_path is None) != (self.equals is None):
            raise ValueError(EXPECT_PAIRS_WORDS)
        return self


_POSTED: Any = {
    "rule": "has(self.body) || has(self.form) ? has(self.method) && self.method == 'POST' "
    "&& has(self.body) != has(self.form) : true",
    "message": _BODY_IS_POSTED,
}


class WebRequest(ApiModel):
    """A request over HTTP or HTTPS."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": [_POSTED]}}

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_URL,
            pattern=r"^https?://[^/?#{}@\s]+([/?].*)?$",
            description="What is asked. Path and query may use the {{ }} variables of queries, which are encoded; scheme, host and port "
            "may not. The host must be one that the controller was told to allow.",
        ),
    ]
    method: Annotated[Method, Field(description="GET, or POST.")] = Method.GET
    headers: Annotated[
        tuple[WebHeader, ...],
        Field(
            max_length=MAX_HEADERS,
            description="Headers to send.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    body: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_BODY,
            description="JSON to send, as text. Its strings may use {{ }} variables, which stay a part of the string.",
        ),
    ] = None
    form: Annotated[
        tuple[FormField, ...] | None,
        Field(
            min_length=1,
            max_length=32,
            description="A form to send, instead of JSON.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = None
    auth: Annotated[Auth | None, Field(description="What the server is shown, from a Secret.")] = None

    @model_validator(mode="after")
    def _posted(self) -> Self:
        sent = [self.body is not None, self.form is not None]
        if any(sent) and (all(sent) or self.method is not Method.POST):
            raise ValueError(_BODY_IS_POSTED)
        return self


class WebSource(WebRequest):
    """JSON over HTTP or HTTPS."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.jsonPath) != has(self.expect)", "message": _ONE_ANSWER},
                _POSTED,
            ]
        }
    }

    json_path: Annotated[
        JsonPathText | None,
        Field(
            description="JSONPath (RFC 9535) of the number in the answer, such as $.data[0].value. A text that is a decimal number is one. "
            "Several values are for a condition over `values`."
        ),
    ] = None
    expect: Annotated[
        Expect | None,
        Field(
            description="What the answer has to be, instead of a number. That is its judge too: it has no threshold."
        ),
    ] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.json_path is None) == (self.expect is None):
            raise ValueError(_ONE_ANSWER)
        return self
