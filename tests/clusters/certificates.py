"""An authority and what it signs: X.509 over P-256 with nothing but the standard library.

For tests on 127.0.0.1 only: the arithmetic is plain, and leaks its keys to whoever measures time.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

# NIST P-256 (FIPS 186-4, D.1.2.3)
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_P256, _EC_KEY, _ECDSA_SHA256 = "1.2.840.10045.3.1.7", "1.2.840.10045.2.1", "1.2.840.10045.4.3.2"
_COMMON_NAME, _ALT_NAME, _BASIC, _KEY_USAGE = "2.5.4.3", "2.5.29.17", "2.5.29.19", "2.5.29.15"
_KEY_ID, _AUTHORITY_ID = "2.5.29.14", "2.5.29.35"
_serials = itertools.count(1)

Point = tuple[int, int] | None


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, _P) if one == other else (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _times(factor: int, point: Point) -> Point:
    total: Point = None
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(size)]) + size + body


def _integer(value: int) -> bytes:
    return _der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for arc in rest:
        septets = [arc & 127]
        while arc := arc >> 7:
            septets.append(arc & 127 | 128)
        out += bytes(reversed(septets))
    return _der(6, bytes(out))


def _name(common: str) -> bytes:
    return _der(0x30, _der(0x31, _der(0x30, _oid(_COMMON_NAME), _der(0x0C, common.encode()))))


def _extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return _der(0x30, _oid(oid), *([_der(1, b"\xff")] if critical else []), _der(4, value))


def _pem(label: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


@dataclass
class _Key:
    secret: int = field(default_factory=lambda: secrets.randbelow(_N - 1) + 1)

    def __post_init__(self) -> None:
        point = _times(self.secret, _G)
        assert point is not None
        self._point = b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
        self.id = hashlib.sha1(self._point, usedforsecurity=False).digest()
        self.public = _der(0x30, _der(0x30, _oid(_EC_KEY), _oid(_P256)), _der(3, b"\0", self._point))

    @property
    def pem(self) -> str:
        parts = (
            _integer(1),
            _der(4, self.secret.to_bytes(32, "big")),
            _der(0xA0, _oid(_P256)),
            _der(0xA1, _der(3, b"\0", self._point)),
        )
        return _pem("EC PRIVATE KEY", _der(0x30, *parts))

    def sign(self, message: bytes) -> bytes:
        digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
        once = secrets.randbelow(_N - 1) + 1
        point = _times(once, _G)
        assert point is not None
        r = point[0] % _N
        return _der(0x30, _integer(r), _integer(pow(once, -1, _N) * (digest + r * self.secret) % _N))


class Authority:
    """Signs certificates. `pem` is its own."""

    def __init__(self, name: str = "an authority of the tests") -> None:
        self._name, self._key = name, _Key()
        authority = _extension(_BASIC, _der(0x30, _der(1, b"\xff")), critical=True)
        signs = _extension(_KEY_USAGE, _der(3, b"\x01\x06"), critical=True)  # certificates and revocation lists
        self.pem = self._signed(name, self._key, authority, signs)

    def server(self, address: str = "127.0.0.1") -> str:
        """Certificate and key of a server at an IPv4 address."""
        key = _Key()
        names = _der(0x30, _der(0x87, bytes(map(int, address.split(".")))))
        return self._signed("a server of the tests", key, _extension(_ALT_NAME, names)) + key.pem

    def _signed(self, subject: str, key: _Key, *extensions: bytes) -> str:
        now = datetime.now(UTC)
        times = [
            _der(0x17, f"{at:%y%m%d%H%M%SZ}".encode()) for at in (now - timedelta(days=1), now + timedelta(days=1))
        ]
        algorithm = _der(0x30, _oid(_ECDSA_SHA256))
        ids = (
            _extension(_KEY_ID, _der(4, key.id)),
            _extension(_AUTHORITY_ID, _der(0x30, _der(0x80, self._key.id))),
        )
        told = _der(
            0x30,
            _der(0xA0, _integer(2)),
            _integer(next(_serials)),
            algorithm,
            _name(self._name),
            _der(0x30, *times),
            _name(subject),
            key.public,
            _der(0xA3, _der(0x30, *extensions, *ids)),
        )
        return _pem("CERTIFICATE", _der(0x30, told, algorithm, _der(3, b"\0", self._key.sign(told))))
