r"""Text of strangers as it may stand in a report: what is written there may steer no terminal, no log viewer and no CI.

A name in a manifest, or in somebody's cluster, can hold anything. Control characters, marks that turn the direction of a line and halves
of characters (which no file can hold) are written out, as `\x1b` and `\u202e`, and not dropped: a reader should see that they are there.
"""

from __future__ import annotations

import json
import re
from typing import Any

_OTHER = re.compile(r"[^ -~]")


def printable(text: str, keep: str = "") -> str:
    """The text with every character written out that is not to be printed; those of `keep` stay as they are."""
    return _OTHER.sub(
        lambda found: found[0] if found[0].isprintable() or found[0] in keep else _spelled(found[0]), text
    )


def _spelled(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_json(document: Any) -> str:
    """JSON for a file or a terminal, ended by a newline: texts are exact, and no character of them is one that is not to be printed."""
    written = json.dumps(document, indent=2, ensure_ascii=False)
    # Outside of texts there is nothing but ASCII, and newlines are what `indent` makes: those within texts are escaped already.
    return (
        _OTHER.sub(
            lambda found: found[0] if found[0] == "\n" or found[0].isprintable() else json.dumps(found[0])[1:-1],
            written,
        )
        + "\n"
    )
