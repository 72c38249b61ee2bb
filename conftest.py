"""What the tests run on: the sandbox, or a real API server; and which of them can only run on the sandbox."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import cluster_kit
import measuring
import pytest
import real_server
import surroundings
import upstream
import workers
from hypothesis import HealthCheck, settings

SAY_WHEN_READY = ("controller", "deploy", "e2e", "parts")
"""Folders whose tests say when a Deployment is ready. Where a cluster does, the two contradict each other."""


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever is started in the background ignores it, and so do its children: Ctrl-C in a program under test, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


AUTHORITIES = Path(__file__).parent / "tests" / "session" / "nobody.pem"
"""Whom tests and their children trust that are told nothing else: an authority whose key nobody has.

They talk to servers of their own. To read the hundred and more authorities of the machine takes 22 ms each time that somebody makes
ready for TLS, as every client of an API server does.
"""


surroundings.forget(os.environ)

# Property tests take the same road on every machine, so that a red one is red for everybody. CANARY_HYPOTHESIS=search takes others, and more.
settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.register_profile("search", parent=settings.get_profile("steady"), derandomize=False, max_examples=3000)
settings.load_profile(os.environ.get("CANARY_HYPOTHESIS", "steady"))


def pytest_configure(config: pytest.Config) -> None:
    if not upstream.KUBECONFIG:  # whose server may be certified by anybody
        os.environ.setdefault("SSL_CERT_FILE", str(AUTHORITIES))
    if workers.distributes(config) and upstream.KUBECONFIG:
        raise pytest.UsageError("workers would meet on the cluster of CANARY_TEST_KUBECONFIG: use -n 0")
    workers.register(config)
    config.pluginmanager.register(measuring)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded by then stays to the end: no collector looks through it meanwhile, and none afterwards, again and again.

    Nor is there garbage after every seven hundred objects: up to a fifth of what tests compute went into looking for it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 10, 10)


def pytest_report_header(config: pytest.Config) -> str:
    return cluster_kit.description(workers=workers.distributes(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need the sandbox's own server, or a real one, are left out on the other; the report counts them as deselected.

    So are those that run Deployments themselves, on a cluster that does.
    """
    folders = SAY_WHEN_READY if cluster_kit.REAL and upstream.runs_deployments() else ()
    left_out = [item for item in items if not _runs_here(item) or item.path.parent.name in folders]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _runs_here(item: pytest.Item) -> bool:
    if not cluster_kit.REAL:
        return item.get_closest_marker("real_only") is None
    needs = item.get_closest_marker("real_only")
    if needs is not None and upstream.minor_version() < needs.kwargs["since"]:
        return False
    return item.get_closest_marker("sandbox_only") is None


def pytest_sessionfinish() -> None:
    if upstream._known:
        real_server.remove_installed(upstream.upstream())
    upstream.stop()
