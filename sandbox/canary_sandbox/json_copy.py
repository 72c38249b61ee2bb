"""Copies of JSON documents. `copy.deepcopy` takes eight times as long, and was a tenth of what the API server did."""

from __future__ import annotations

import marshal
from typing import Any, TypeVar

T = TypeVar("T")


def copied(document: T) -> T:
    """A document of which nothing is shared with the one given; of dicts, lists, texts, numbers, truths and None, and of nothing else."""
    plain: Any = document
    whole: T = marshal.loads(marshal.dumps(plain))  # noqa: S302 - of our own making
    return whole
