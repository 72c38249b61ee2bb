"""`canary comparer run` on the command line: help, what it refuses and how it says so, and what it makes of its options."""

from __future__ import annotations

import json
import re
import sys

import pytest
from cli_kit import canary
from typer.testing import CliRunner

from canary.cli.main import build

URLS = ("--stable", "http://shop-stable:8080", "--canary", "http://shop-canary:8080")


def said(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(build(), ["comparer", "run", *arguments], prog_name="canary")
    return ran.exit_code, " ".join(ran.output.split())


def test_help_has_examples_and_says_what_it_does_to_others() -> None:
    """What one types, that writes happen three times more, what stable gets, and that gRPC is not compared."""
    ran = CliRunner().invoke(build(), ["comparer", "run", "-h"], prog_name="canary")
    assert ran.exit_code == 0
    assert re.search(r"\n    # .*\n    canary comparer run --stable http://shop-stable ", ran.output)
    words = " ".join(ran.output.split())
    assert "EVERYTHING BUT GET, HEAD AND OPTIONS HAPPENS THREE TIMES MORE" in words
    assert "Stable gets two requests more" in words
    assert "gRPC is not compared" in words
    options = "stable canary headers ignore methods max-rps concurrency timeout max-body max-paths examples listen"
    for option in [*options.split(), "admin-listen", "ca-file"]:
        assert f"--{option} " in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing option '--stable'"),
        (("--stable", "http://a"), "Missing option '--canary'"),
        (("--stable", "shop-stable:8080", "--canary", "http://a"), "--stable: 'shop-stable:8080' is no address; write"),
        (("--stable", "http://a", "--canary", "ftp://a"), "--canary: 'ftp://a' is no address; write"),
        (("--stable", "http://a:99999", "--canary", "http://a"), "write for example http://shop-stable:8080"),
        (("--stable", "http://a/shop", "--canary", "http://a"), "a request brings its own path"),
        (("--stable", "http://a?x=1", "--canary", "http://a"), "a request brings its own path"),
        (("--stable", "http://u:hunter2@a", "--canary", "http://a"), "an address with credentials is not taken"),
        (
            ("--stable", "http://a", "--canary", "http://A:80/"),
            "--canary: that is stable's address, http://a, and nothing would differ",
        ),
        (("--stable", "https://[::1]:443", "--canary", "https://[::1]"), "write where the canary alone answers"),
        ((*URLS, "--listen", "8080/x"), "--listen: '8080/x' is no address to listen at; write"),
        ((*URLS, "--admin-listen", "here"), "--admin-listen: 'here' is no address to listen at"),
        ((*URLS, "--timeout", "soon"), "is not a duration"),
        ((*URLS, "--timeout", "2m"), "2m is not between 1ms and 1m"),
        ((*URLS, "--timeout", "0s"), "0s is not between 1ms and 1m"),
        ((*URLS, "--max-body", "1MB"), "write for example 1MiB"),
        ((*URLS, "--max-body", "0"), "is no size between"),
        ((*URLS, "--max-body", "65MiB"), "is no size between"),
        ((*URLS, "--max-paths", "2001"), "less than or equal to 2000"),
        ((*URLS, "--examples", "4"), "less than or equal to 3"),
        ((*URLS, "--max-rps", "-1"), "greater than or equal to 0"),
        ((*URLS, "--headers", "a b:c"), "'b:c' is no name"),
        ((*URLS, "--methods", ""), "no method; write for example GET,HEAD"),
        ((*URLS, "--ignore", "price"), "'price' is no path of results"),
    ],
)
def test_what_makes_no_sense_is_refused_with_advice(arguments: tuple[str, ...], words: str) -> None:
    """Code 2, which option, and what to write instead; a password that was typed is not shown again."""
    code, text = said(*arguments)
    assert code == 2
    assert words in text
    assert "hunter2" not in text


RECORD = """
import json, sys, dataclasses
sys.argv = ["canary", "comparer", "run", *json.loads(sys.argv[1])]
import canary.comparer.run
canary.comparer.run.run = lambda settings: print(json.dumps(dataclasses.asdict(settings)))
from canary.cli.main import main
main()
"""


async def test_options_become_settings() -> None:
    """Each has its place, in one spelling; without any there are the documented defaults."""
    arguments = [
        *("--stable", "http://a:1/", "--canary", "https://[::1]:2", "--headers", "ETag, Content-Type,etag"),
        *("--ignore", "$.now", "--ignore", "header:etag", "--methods", "get,post", "--max-rps", "0.5"),
        *("--concurrency", "9", "--timeout", "1s500ms", "--max-body", "64KiB", "--max-paths", "7", "--examples", "0"),
        *("--listen", ":9000", "--admin-listen", "[::1]:9001", "--log-level", "DEBUG", "--log-format", "json"),
    ]
    python = (sys.executable,)
    ran = await canary("-c", RECORD, json.dumps(arguments), command=python)
    assert json.loads(ran.out) == {
        "stable": "http://a:1",
        "canary": "https://[::1]:2",
        "headers": ["etag", "content-type"],
        "ignore": ["$.now", "header:etag"],
        "methods": ["GET", "POST"],
        "max_rps": 0.5,
        "concurrency": 9,
        "timeout": 1.5,
        "max_body": 65536,
        "max_paths": 7,
        "examples": 0,
        "listen": "0.0.0.0:9000",
        "admin_listen": "[::1]:9001",
        "log_level": "DEBUG",
        "log_format": "json",
        "ca_file": None,
    }
    usual = json.loads((await canary("-c", RECORD, json.dumps([*URLS, "--headers", ""]), command=python)).out)
    assert usual["headers"] == []
    assert (usual["methods"], usual["max_body"], usual["max_paths"]) == (["GET", "HEAD", "OPTIONS"], 1048576, 2000)
    assert (usual["listen"], usual["admin_listen"]) == ("0.0.0.0:8080", "0.0.0.0:8081")
