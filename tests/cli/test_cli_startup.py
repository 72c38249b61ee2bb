"""The program as a process, without a cluster: help, usage, what it imports, and how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_kit import COLD, Run, canary
from typer.testing import CliRunner

from canary.cli.main import build
from canary.controller import run
from canary.controller.settings import Settings

Json = dict[str, Any]

HEAVY = (
    "kubernetes",
    "kopf",
    "pydantic",
    "aiohttp",
    "apprise",
    "rich",
    "yaml",
    "tenacity",
    "prometheus_api_client",
    "cel",
)
REPORT = """
import json, sys
sys.argv = ["canary", *json.loads(sys.argv[1])]
from canary.cli.main import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
loaded = sorted({name.partition(".")[0] for name in sys.modules})
sys.stderr.write(json.dumps({"code": code, "loaded": loaded}))
"""


async def python(*arguments: str, **env: str) -> Run:
    return await canary(*arguments, command=(sys.executable,), **env)


async def loaded_by(*arguments: str) -> set[str]:
    report = json.loads((await python("-c", REPORT, json.dumps(arguments))).err)
    assert report["code"] == 0
    return set(report["loaded"])


async def test_help_imports_nothing_heavy() -> None:
    """Help answers at once because nothing is loaded that it does not need."""
    assert not set(HEAVY) & await loaded_by("--help")


@pytest.mark.parametrize("arguments", [["status", "--help"], ["controller", "run", "--help"], ["version"]])
async def test_verbs_that_ask_nobody_import_nothing_heavy(arguments: list[str]) -> None:
    """Only pydantic may be there: typer itself brings it in to read the options before the verb."""
    assert not (set(HEAVY) - {"pydantic"}) & await loaded_by(*arguments)


async def test_a_controller_starts_without_what_only_some_rollouts_need() -> None:
    """httpx and what comes with it, and paths in JSON, took a sixth of a start and a tenth of the memory.

    So did the clients of Prometheus, which is asked after the first decision, and of Kubernetes, which kopf would import and kubeconfigs need.
    """
    code = "import sys, canary.controller.run; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set((await python("-c", code)).out.split())
    assert {"kopf", "aiohttp"} <= loaded
    assert not {"httpx", "httpcore", "h2", "rich", "pygments", "click", "jsonpath", "regex"} & loaded
    assert not {"kubernetes", "oauthlib", "websocket", "dateutil"} & loaded
    assert not {"prometheus_api_client", "requests", "urllib3"} & loaded


@pytest.mark.alone("how fast the program starts")
async def test_help_is_fast() -> None:
    """The best of three starts is well below what a person notices. The machine may be busy with other things, so its own work counts."""
    took = []
    for _ in range(3):
        before = os.times()
        assert (await canary("--help", command=COLD)).code == 0
        after = os.times()
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert 0 < min(took) < 0.6


async def test_help_lists_every_verb_and_exit_code() -> None:
    """One page says what there is, and what scripts may rely on."""
    ran = await canary("--help")
    words = [
        "list",
        "status",
        "watch",
        "explain",
        "start",
        "promote",
        "pause",
        "resume",
        "abort",
        "retry",
        "controller",
        "demo",
        "version",
    ]
    listed = {line.split()[0] for line in ran.out.splitlines() if line.startswith("  ") and line.strip()}
    assert set(words) <= listed
    assert {"0", "1", "2", "3", "4", "5", "6", "7", "130"} <= listed
    assert ran.out.startswith("Usage: canary ")


def test_every_verb_shows_examples() -> None:
    """People learn from examples; each is on a line of its own."""
    for verb in [
        "list",
        "status",
        "watch",
        "explain",
        "start",
        "promote",
        "pause",
        "resume",
        "abort",
        "retry",
        "demo",
        "version",
    ]:
        shown = CliRunner().invoke(build(), [verb, "-h"], prog_name="canary")
        assert shown.exit_code == 0
        assert "Examples:" in shown.output
        assert re.search(rf"\n    # .+\n    canary {verb}( .*)?\n", shown.output)


async def test_as_a_plugin_it_speaks_of_kubectl(tmp_path: Path) -> None:
    """Started as kubectl-canary, usage and examples are what one types."""
    plugin = tmp_path / "kubectl-canary"
    plugin.write_text(f"#!{sys.executable}\nfrom canary.cli.main import main\nmain()\n")
    plugin.chmod(0o755)
    ran = await canary("status", "--help", command=(str(plugin),), PYTHONPATH=str(Path(__file__).parents[2]))
    assert ran.out.startswith("Usage: kubectl canary status ")
    assert "    kubectl canary status shop" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wait", "shop", "--for", "approvals"], "nothing to wait for"),
        (["statsu"], "Did you mean 'status'"),
        (["status"], "NAME"),
        (["pause", "shop", "--timeout", "soon"], "is not a duration"),
        (["list", "-o", "xml"], "xml"),
        (["controller", "run", "--prometheus-url", "prometheus:9090"], "http://prometheus.monitoring:9090"),
        (["controller", "run", "--metrics-address", "8080/metrics"], "0.0.0.0:8080"),
        (["controller", "run", "--lease", "canary"], "canary-system/canary-controller"),
        (["controller", "run", "--lease", "a/b/c"], "names no Lease"),
        (["controller", "run", "--namespaces", "A B"], "'A' can name no namespace: a name is made of a-z, 0-9 and -"),
        (["controller", "run", "-n", "team-shop,team_pay"], "'team_pay' can name no namespace"),
        (["controller", "run", "--namespaces", "team-*"], "write for example team-shop,team-pay"),
        (["controller", "run", "--namespaces", "a" * 64], "has 63 characters at most"),
        (["controller", "run", "--namespaces", ","], "',' names no namespace"),
        (["-n", "Team", "controller", "run"], "'Team' can name no namespace"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], words: str) -> None:
    """Usage errors say what is wrong and have a code of their own."""
    ran = CliRunner().invoke(build(), arguments, prog_name="canary")
    assert ran.exit_code == 2
    assert words in " ".join(ran.output.split())


async def test_settings_of_the_controller_come_from_the_environment_too() -> None:
    """A deployment sets variables; a nonsense one is refused like a nonsense option."""
    ran = await canary("controller", "run", CANARY_METRICS_ADDRESS="nowhere")
    assert ran.code == 2
    assert "'nowhere' is no address to listen at" in " ".join(ran.err.split())
    listed = (await canary("controller", "run", "--help")).out
    names = "PROMETHEUS_URL ALLOW_HOSTS PROMETHEUS_HOSTS NAMESPACES LOG_LEVEL LOG_FORMAT METRICS_ADDRESS LEASE"
    names += " PROMETHEUS_BEARER_TOKEN_FILE PROMETHEUS_CA_FILE PROMETHEUS_HEADER_FILE PROMETHEUS_USERNAME_FILE"
    names += " PROMETHEUS_PASSWORD_FILE PROMETHEUS_CLIENT_CERTIFICATE_FILE PROMETHEUS_CLIENT_KEY_FILE"
    assert not [name for name in names.split() if f"CANARY_{name}" not in listed]


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Json]:
    """What the controller is to run with, by arguments and environment; it does not run."""
    given: list[Settings] = []
    monkeypatch.setattr(run, "run", given.append)

    def told(*arguments: str, **env: str) -> Json:
        clean = {name: None for name in os.environ if name.startswith(("CANARY_", "KUBECONFIG"))}
        ended = CliRunner().invoke(build(), ["controller", "run", *arguments], env={**clean, **env})
        assert ended.exit_code == 0, ended.output
        document: Json = json.loads(json.dumps(dataclasses.asdict(given.pop())))
        return document

    return told


def test_the_allowed_hosts_by_their_old_name(settings_of: Callable[..., Json]) -> None:
    """Option and variable of before mean the same; where both variables are set the new one counts."""
    option = settings_of("--prometheus-hosts", "a,.b")
    variable = settings_of(CANARY_PROMETHEUS_HOSTS="a,.b", CANARY_ALLOW_HOSTS="")
    both = settings_of(CANARY_PROMETHEUS_HOSTS="a", CANARY_ALLOW_HOSTS="10.0.0.0/8")
    assert option["allow_hosts"] == variable["allow_hosts"] == ["a", ".b"]
    assert both["allow_hosts"] == ["10.0.0.0/8"]
    assert both["overruled"] == ["CANARY_ALLOW_HOSTS counts, not CANARY_PROMETHEUS_HOSTS"]


def test_options_and_environment_become_the_same_settings(settings_of: Callable[..., Json]) -> None:
    """Every field of the controller's settings can be set either way, and the option wins."""
    options = {
        "prometheus-url": "http://prom:9090/",
        "allow-hosts": "a:9090,b",
        "prometheus-username-file": "/etc/canary/username",
        "prometheus-password-file": "/etc/canary/password",
        "prometheus-client-certificate-file": "/etc/canary/tls.crt",
        "prometheus-client-key-file": "/etc/canary/tls.key",
        "prometheus-bearer-token-file": "/etc/canary/token",
        "prometheus-ca-file": "/etc/canary/ca.crt",
        "prometheus-header-file": "/etc/canary/headers",
        "namespaces": "team-shop,team-pay",
        "log-level": "debug",
        "log-format": "json",
        "metrics-address": ":9100",
        "gateway-features": "/etc/canary/features.yaml",
        "lease": "canary-system/canary",
        "notify-services": "slack,mailto",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    env = {f"CANARY_{name.upper().replace('-', '_')}": value for name, value in options.items()}
    settings = settings_of(*arguments, "--context", "c")
    assert settings == settings_of("--context", "c", **env, CANARY_LEADER_ELECT="true")
    assert settings == {
        "prometheus_url": "http://prom:9090",
        "allow_hosts": ["a:9090", "b"],
        "prometheus_username_file": "/etc/canary/username",
        "prometheus_password_file": "/etc/canary/password",
        "prometheus_client_certificate_file": "/etc/canary/tls.crt",
        "prometheus_client_key_file": "/etc/canary/tls.key",
        "prometheus_bearer_token_file": "/etc/canary/token",
        "prometheus_ca_file": "/etc/canary/ca.crt",
        "prometheus_header_file": "/etc/canary/headers",
        "namespaces": ["team-shop", "team-pay"],
        "log_level": "DEBUG",
        "log_format": "json",
        "metrics_address": "0.0.0.0:9100",
        "gateway_features": "/etc/canary/features.yaml",
        "lease": ["canary-system", "canary"],
        "notify_services": ["slack", "mailto"],
        "kubeconfig": None,
        "context": "c",
        "overruled": [],
    }
    both = settings_of("--log-level", "error", CANARY_LOG_LEVEL="debug", CANARY_NAMESPACES="a b")
    assert both["log_level"] == "ERROR"
    assert both["namespaces"] == ["a", "b"]
    assert both["overruled"] == ["--log-level counts, not CANARY_LOG_LEVEL"]
    assert settings_of(CANARY_NAMESPACES="")["namespaces"] == []


async def test_without_a_kubeconfig_it_says_what_to_set(tmp_path: Path) -> None:
    """A sentence, not a traceback; --debug shows the traceback."""
    missing = str(tmp_path / "none.yaml")
    ran = await canary("list", KUBECONFIG=missing)
    assert ran.code == 2
    assert ran.err == f"Error: there is no kubeconfig at {missing}\n"
    by_option, by_variable = await asyncio.gather(
        canary("list", "--debug", KUBECONFIG=missing), canary("list", KUBECONFIG=missing, CANARY_DEBUG="1")
    )
    assert "Traceback" in by_option.err
    assert "Traceback" in by_variable.err


async def test_a_server_that_is_not_there_is_named(tmp_path: Path, closed_port: int) -> None:
    """Nobody listens: code 7, within seconds."""
    config = tmp_path / "config"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{closed_port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    # watch and wait are patient, but not with a first answer
    verbs = (["list"], ["watch", "shop"], ["wait", "shop", "--for", "idle"])
    where = f"no connection to http://127.0.0.1:{closed_port}: connection refused"
    said = (
        f"Error: the API server cannot be reached: {where}; is the cluster up, and is it the one of your --context?\n"
    )
    for ran in await asyncio.gather(*(canary(*verb, KUBECONFIG=str(config)) for verb in verbs)):
        assert (ran.code, ran.out, ran.err) == (7, "", said)


async def test_a_context_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    """Code 2, and the names to choose from."""
    config = tmp_path / "config"
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("prod", "staging")]
    config.write_text(json.dumps({"current-context": "prod", "contexts": contexts}))
    ran = await canary("list", "--context", "stagin", KUBECONFIG=str(config))
    assert ran.code == 2
    assert ran.err == f"Error: the kubeconfig {config} has no context stagin; there are prod, staging\n"


async def test_the_version_has_the_usual_option_too() -> None:
    """`canary --version` is what people type."""
    by_option, by_verb = await asyncio.gather(canary("--version"), canary("version"))
    assert by_option == by_verb
    assert re.fullmatch(r"canary \d+\.\d+\.\d+\S*\n", by_option.out)
    assert (by_option.code, by_option.err) == (0, "")


async def test_ignoring_unknown_checks_goes_with_full_only() -> None:
    """Approving one step ignores nothing; nobody is asked then."""
    ran = await canary("promote", "shop", "--ignore-unknown", KUBECONFIG="/nowhere")
    assert ran.code == 2
    assert "goes with --full only" in ran.err


async def test_ctrl_c_ends_with_130_and_without_a_word(tmp_path: Path, silent_server: str) -> None:
    """Interrupted while it waits for an answer, it just goes."""
    config = tmp_path / "config"
    config.write_text(
        json.dumps(
            {
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": silent_server}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "canary",
        "list",
        "--kubeconfig",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CANARY_DEBUG": ""},
    )
    try:
        await asyncio.wait_for(SILENT_ASKED.wait(), 15)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 130
    assert (out, err) == (b"", b"")


SILENT_ASKED = asyncio.Event()


@pytest.fixture
async def silent_server():
    """A server that takes a request and never answers."""
    SILENT_ASKED.clear()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        SILENT_ASKED.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.fixture
async def closed_port() -> int:
    """A port that nobody listens at."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
