"""Fixtures of this folder; what they are made of is in apiserver_kit."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("apiserver_kit")

from apiserver_kit import api, client, kubectl, routes  # noqa: E402 - after the rewriting is asked for

__all__ = ["api", "client", "kubectl", "routes"]
