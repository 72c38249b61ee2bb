"""Copies of JSON documents. `copy.deepcopy` takes eight times as long, and was a tenth of what the API server did."""

from __future__ import annotations

import marshal
from typing import TypeVar

T = TypeVar("T")


def copied(document: T) -> T:
    """A document of which nothing is shared with the one given; of dicts, lists, texts, numbers, truths and None, and of nothing else."""
    whole: T = marshal.loads(marshal.dumps(document))  # noqa: S302 - of our own making
    return whole
