"""A process that counts into a native histogram, as Prometheus answers with it and as it takes it (remote write)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

from canary.metrics.native import native
from canary.model.native import NativeHistogram


@dataclass
class Native:
    """Buckets of the standard `schema`: the edges are powers of 2^(2^-schema). Up to `zero` all are in one."""

    schema: int = 3
    zero: float = 2.0**-128
    held: Counter[int] = field(default_factory=Counter)
    zeros: int = 0

    def observe(self, *seconds: float) -> None:
        for one in seconds:
            if one <= self.zero:
                self.zeros += 1
            else:
                self.held[ceil(log2(one) * 2**self.schema - 1e-9)] += 1

    def halve(self) -> None:
        """Two buckets become one, as a process does that has too many of them."""
        self.schema -= 1
        coarse: Counter[int] = Counter()
        for index, count in self.held.items():
            coarse[-(-index // 2)] += count
        self.held = coarse

    def restart(self, schema: int | None = None) -> None:
        self.held.clear()
        self.zeros = 0
        self.schema = self.schema if schema is None else schema

    @property
    def total(self) -> int:
        return self.zeros + sum(self.held.values())

    def edge(self, index: int) -> float:
        return 2.0 ** (index / 2**self.schema)

    def told(self) -> dict[str, Any]:
        """The JSON of an instant query."""
        buckets: list[list[Any]] = []
        if self.zeros:
            buckets.append([3, str(-self.zero), str(self.zero), str(self.zeros)])
        for index in sorted(self.held):
            low, high = max(self.edge(index - 1), self.zero), self.edge(index)
            buckets.append([0, repr(low), repr(high), str(self.held[index])])
        told = {"count": str(self.total), "sum": "1.5"}
        return {**told, "buckets": buckets} if buckets else told

    def read(self) -> NativeHistogram:
        """What our parser makes of it."""
        return native(self.told())

    def message(self, milliseconds: int, *, floats: bool = False) -> bytes:
        """`prometheus.Histogram`, a protobuf message, of that time."""
        spans: list[list[int]] = []
        ends = 0
        for index in sorted(self.held):
            if spans and index == ends:
                spans[-1][1] += 1
            else:
                spans.append([index - ends, 1])
            ends = index + 1
        counts = [self.held[index] for index in sorted(self.held)]
        deltas = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
        held = b"".join(struct.pack("<d", one) for one in counts) if floats else b"".join(map(_zigzag, deltas))
        return b"".join(
            (
                _double(2, self.total) if floats else _number(1, _varint(self.total)),
                _double(3, 1.5),
                _number(4, _zigzag(self.schema)),
                _double(5, self.zero),
                _double(7, self.zeros) if floats else _number(6, _varint(self.zeros)),
                *(_bytes(11, _number(1, _zigzag(offset)) + _number(2, _varint(length))) for offset, length in spans),
                _bytes(13 if floats else 12, held),
                _number(15, _varint(milliseconds)),
            )
        )


def write_request(series: Sequence[tuple[Mapping[str, str], Sequence[bytes]]]) -> bytes:
    """The body of a request of remote write: `prometheus.WriteRequest`, in a block of Snappy that saves nothing."""
    body = b"".join(
        _bytes(
            1,
            b"".join(
                _bytes(1, _bytes(1, name.encode()) + _bytes(2, value.encode()))
                for name, value in sorted(labels.items())
            )
            + b"".join(_bytes(4, one) for one in histograms),
        )
        for labels, histograms in series
    )
    chunks = (body[start : start + 60] for start in range(0, len(body), 60))
    return _varint(len(body)) + b"".join(bytes([(len(chunk) - 1) << 2]) + chunk for chunk in chunks)


WRITES = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
"""The headers of such a request."""


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _number(field_: int, encoded: bytes) -> bytes:
    return _varint(field_ << 3) + encoded


def _double(field_: int, value: float) -> bytes:
    return _varint(field_ << 3 | 1) + struct.pack("<d", value)


def _bytes(field_: int, value: bytes) -> bytes:
    return _varint(field_ << 3 | 2) + _varint(len(value)) + value
