"""What the tests run on: the sandbox, or a real API server; and which of them can only run on the sandbox."""

from __future__ import annotations

import cluster_kit
import pytest
import real_server
import upstream


def pytest_report_header() -> str:
    return cluster_kit.description()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a real server, tests that need the sandbox's own are left out; the report counts them as deselected."""
    if not cluster_kit.REAL:
        return
    left_out = [item for item in items if item.get_closest_marker("sandbox_only")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish() -> None:
    if upstream._known:
        real_server.remove_installed(upstream.upstream())
    upstream.stop()
