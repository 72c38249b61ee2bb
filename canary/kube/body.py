"""Bodies of requests, spelt as the API server spells JSON itself."""

from __future__ import annotations

import json
import re

_ESCAPED = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of UTF-16 pairs, as undecodable bytes of a command line become; in JSON from a server there are none."""


def encode(document: object) -> bytes:
    r"""A document as Go's `encoding/json` writes it: UTF-8, with `<`, `>`, `&` and two line separators as `\u…`.

    Not for looks: the `test` of a JSON Patch compares a text with the server's own spelling of it, byte for byte. Those
    five characters have no meaning of their own in JSON, so wherever they stand is inside a text.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return _HALVES.sub("\ufffd", text).translate(_ESCAPED).encode()
