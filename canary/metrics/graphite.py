"""Graphite, by its render API. Pure."""

from __future__ import annotations

from datetime import datetime
from html import unescape

from canary.checks import percent
from canary.checks.sources.graphite import Graphite
from canary.metrics.http import Request
from canary.metrics.http_answer import Answer, Senseless
from canary.metrics.points import Shape, end_of_now, last_of_each
from canary.model.measurement import Measurement

_SHAPE = Shape("datapoints", time=1, value=0)
_REFUSES = "Invalid parameters"
"""How the text of a 400 begins that says what is wrong; a target that is none is mostly a name that nothing has."""
_FAILED = "Graphite encountered an unexpected error"
"""What its page says above a stack trace: a 500, for an argument that a function does not take as for a fault of its own."""


class GraphiteApi:
    """GET /render. From and until are relative: the clock of the server is the one that its points are of."""

    def request(self, source: Graphite, now: datetime) -> Request:  # noqa: ARG002 - as every API
        fields = (("target", source.target), ("from", f"-{source.window:.0f}s"), ("until", "now"), ("format", "json"))
        return Request("GET", f"{source.origin}/render?{percent.form(fields)}")

    def measurement(self, source: Graphite, answer: Answer) -> Measurement:
        if answer.status == 400:
            said = answer.content.decode("utf-8", "replace")
            words = answer.words(said) if said.startswith(_REFUSES) else ""
            return answer.malformed("BadQuery", words or f"{answer.answered}: it does not understand the target")
        if answer.status == 500 and (raised := answer.words(_raised(answer.content))):
            return answer.unreachable("HTTPError", f"{answer.answered}: {raised}")
        refused = answer.refused()
        if refused is not None:
            return refused
        try:
            return last_of_each(answer, answer.json(), _SHAPE, source.window, end_of_now(answer))
        except Senseless as error:
            return answer.malformed("UnexpectedResult", str(error))


def _raised(content: bytes) -> str:
    """The last line of the stack trace on Graphite's page about an error; empty: it is another page, or has none."""
    page = content.decode("utf-8", "replace")
    trace = page.partition("<pre>")[2].partition("</pre>")[0] if _FAILED in page else ""
    return unescape(trace.rstrip().rpartition("\n")[2])
