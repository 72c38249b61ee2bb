"""Fixtures of this folder; what they are made of is in cli_kit."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("cli_kit")

from cli_kit import now  # noqa: E402 - after the rewriting is asked for

__all__ = ["now"]
