r"""How a real server spells texts in JSON, and how a client spelt them in a request.

A JSON Patch there compares texts as they are spelt, not as they are meant: the test of a value "R&D" fails unless it says
"R\u0026D", because that is how the server's own encoder writes the object that the patch is applied to.
"""

from __future__ import annotations

import json
from json import scanner
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in the stubs
from typing import Any

_UNLIKE_PYTHON = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def spelt(text: str) -> str:
    """A text as the server writes it, without the quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].translate(_UNLIKE_PYTHON)


def _as_written(text: str, start: int, strict: bool = True) -> tuple[str, int]:
    _, end = scanstring(text, start, strict)
    return text[start : end - 1], end


def _decoder() -> json.JSONDecoder:
    made: Any = json.JSONDecoder()
    made.parse_string = _as_written
    # The scanner in C takes no other `parse_string` than its own; this one is not in the stubs.
    made.scan_once = scanner.py_make_scanner(made)  # type: ignore[attr-defined]
    decoder: json.JSONDecoder = made
    return decoder


def as_written(raw: bytes) -> Any:
    """A document in which every text is what stands between its quotes in the request."""
    return _decoder().decode(raw.decode())
