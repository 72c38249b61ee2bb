"""What another library would import, and makes do without."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from canary.controller.absent import absent


def test_it_is_as_if_it_were_not_installed_and_there_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries to import it, or something of it, goes on without; whoever comes later has it."""
    (tmp_path / "optional_library").mkdir()
    for name in ("__init__", "models"):
        (tmp_path / "optional_library" / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with absent("optional_library", "of_nobody"):
        for name in ("optional_library", "optional_library.models", "of_nobody"):
            with pytest.raises(ImportError):
                importlib.import_module(name)
    assert importlib.import_module("optional_library.models").__name__ == "optional_library.models"
    assert "of_nobody" not in sys.modules


def test_what_is_there_already_stays() -> None:
    """Others use it by now."""
    with absent("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json
