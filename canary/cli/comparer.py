from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import typer

from canary.cli import options as o
from canary.cli.controller import LogFormat, LogLevel

HELP = "Run a comparer: do the answers of the canary differ from those of stable?"
RUN_HELP = o.guide(
    "Take mirrored requests, send each to stable twice and to the canary once, and count where the answers differ. What differs "
    "between the two answers of stable is noise. Whoever mirrors is answered at once, with 202. Stable gets two requests more for "
    "each one mirrored: see --max-rps.\n\n"
    "HTTP/1.1 only: gRPC is not compared.",
    ("comparer run --stable http://shop-stable --canary http://shop-canary", "see docs/comparer.md"),
    ("comparer run --stable URL --canary URL --ignore '$.requestId'", "one field left out"),
    ("comparer run --stable URL --canary URL --max-rps 20", "less load"),
    ("comparer run --stable URL --canary URL --listen :9000", "on a port of your own"),
)


@o.grouped()
def run(
    *,
    stable: Annotated[
        str, typer.Option("--stable", metavar="URL", show_default=False, help="Where stable answers, http or https.")
    ],
    canary: Annotated[
        str, typer.Option("--canary", metavar="URL", show_default=False, help="Where the canary answers.")
    ],
    headers: Annotated[
        str,
        typer.Option("--headers", metavar="NAME,...", help="Headers of the answers to compare, too; '' for none."),
    ] = "content-type,location",
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="PATH",
            show_default=False,
            help="Leave out this path and what lies below it, such as '$.items[].price', 'header:location', 'body'; may be "
            "repeated. Not needed for what changes with every answer.",
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="METHOD,...",
            help="Methods to compare. EVERYTHING BUT GET, HEAD AND OPTIONS HAPPENS THREE TIMES MORE: each write, mail "
            "and payment, twice on stable and once on the canary.",
        ),
    ] = "GET,HEAD,OPTIONS",
    max_rps: Annotated[
        float,
        typer.Option(
            "--max-rps",
            metavar="NUMBER",
            min=0,
            help="Requests compared a second, at most; stable gets twice as many. 0: no limit. Of itself it compares fewer "
            "while stable is slower than it was, or fails.",
        ),
    ] = 100.0,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", metavar="NUMBER", min=1, max=10_000, help="Requests compared at one time, at most."
        ),
    ] = 64,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long an answer may take, to its last byte.")
    ] = "5s",
    max_body: Annotated[
        str,
        typer.Option("--max-body", metavar="SIZE", help="Longest body, of a request or an answer: bytes, KiB or MiB."),
    ] = "1MiB",
    max_paths: Annotated[
        int,
        typer.Option(
            "--max-paths",
            metavar="NUMBER",
            min=1,
            max=2000,
            help="Field paths told apart; further ones count together.",
        ),
    ] = 2000,
    examples: Annotated[
        int,
        typer.Option(
            "--examples",
            metavar="NUMBER",
            min=0,
            max=3,
            help="Examples kept for each path, of types only, such as number and string; 0: none.",
        ),
    ] = 3,
    ca_file: Annotated[
        str | None,
        typer.Option(
            "--ca-file",
            metavar="FILE",
            show_default=False,
            help="PEM certificates of the authorities that sign those of https backends, instead of the usual ones; read again "
            "when it changes.",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where mirrored requests arrive, whatever their path.")
    ] = "0.0.0.0:8080",
    admin_listen: Annotated[
        str,
        typer.Option("--admin-listen", metavar="HOST:PORT", help="Where /results, /metrics and /healthz are served."),
    ] = "0.0.0.0:8081",
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", case_sensitive=False, help="How much to log.")
    ] = LogLevel.INFO,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", case_sensitive=False, help="For people or programs.")
    ] = LogFormat.TEXT,
) -> None:
    origins = (_origin(stable, "--stable"), _origin(canary, "--canary"))
    _two_versions(*origins)
    addresses = (_address(listen, "--listen"), _address(admin_listen, "--admin-listen"))
    limits = (_duration(timeout), _size(max_body))
    chosen = tuple(_names(methods.upper(), "--methods", "GET,HEAD"))
    if not chosen:
        raise typer.BadParameter("there is no method; write for example GET,HEAD", param_hint="--methods")

    from canary.comparer.run import run as run_comparer
    from canary.comparer.settings import Settings

    run_comparer(
        Settings(
            stable=origins[0],
            canary=origins[1],
            listen=addresses[0],
            admin_listen=addresses[1],
            headers=tuple(_names(headers.lower(), "--headers", "content-type,location")),
            ignore=tuple(_path(path) for path in ignore or ()),
            methods=chosen,
            max_rps=max_rps,
            concurrency=concurrency,
            timeout=limits[0],
            max_body=limits[1],
            max_paths=max_paths,
            examples=examples,
            ca_file=ca_file or None,
            log_level=log_level.value.upper(),
            log_format=log_format.value,
        )
    )


def _origin(text: str, option: str) -> str:
    """An address without a path: every request brings its own."""
    advice = "write for example http://shop-stable:8080"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no address; {advice}", param_hint=option) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise typer.BadParameter(f"{text!r} is no address; {advice}", param_hint=option)
    if "@" in parts.netloc:
        raise typer.BadParameter(
            f"an address with credentials is not taken, a request brings its own; {advice}", param_hint=option
        )
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise typer.BadParameter(
            f"{text!r} has more than host and port, but a request brings its own path; {advice}", param_hint=option
        )
    return f"{parts.scheme}://{parts.netloc}"


_PORTS = {"http": 80, "https": 443}


def _two_versions(stable: str, canary: str) -> None:
    """One address, however it is written, has one version behind it."""
    one, other = urlsplit(stable), urlsplit(canary)

    def place(parts: SplitResult) -> tuple[str | None, int]:
        return parts.hostname, parts.port or _PORTS[parts.scheme]

    if place(one) == place(other):
        raise typer.BadParameter(
            f"that is stable's address, {stable}, and nothing would differ; write where the canary alone answers",
            param_hint="--canary",
        )


def _address(text: str, option: str) -> str:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise typer.BadParameter(
            f"{text!r} is no address to listen at; write for example 0.0.0.0:8080", param_hint=option
        )
    return f"{host or '0.0.0.0'}:{port}"


def _duration(text: str) -> float:
    seconds = o.seconds(text, "--timeout")
    if not 0 < seconds <= 60:
        raise typer.BadParameter(f"{text} is not between 1ms and 1m; write for example 5s", param_hint="--timeout")
    return seconds


_UNITS = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}
_MOST = 64 * 1024 * 1024


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})(KiB|MiB)?", text)
    size = int(found[1]) * _UNITS[found[2] or ""] if found else 0
    if not 0 < size <= _MOST:
        raise typer.BadParameter(
            f"{text!r} is no size between 1 byte and 64MiB; write for example 1MiB", param_hint="--max-body"
        )
    return size


_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def _names(text: str, option: str, example: str) -> list[str]:
    words = text.replace(",", " ").split()
    for word in words:
        if not _TOKEN.fullmatch(word):
            raise typer.BadParameter(f"{word!r} is no name; write for example {example}", param_hint=option)
    return list(dict.fromkeys(words))


def _path(text: str) -> str:
    if not re.match(r"\$[.\[]|header:.|(status|body|\$)$", text):
        raise typer.BadParameter(
            f"{text!r} is no path of results; write for example '$.items[].price', header:location, status or body",
            param_hint="--ignore",
        )
    return text
