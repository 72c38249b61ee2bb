"""Value types of the API: durations, shares and limits, parsed once and exact ever after.

A `Duration` counts whole milliseconds, a `Share` is an exact fraction of the pair, a `Limit` an exact number
in base units (seconds, or 1 for ratios). Floats appear only where a measured value is compared, and where a document has
a number that is not whole: it means the shortest decimal that is that number, `0.01` one in a hundred.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_DURATION_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")
_DURATION = re.compile(DURATION_PATTERN)

SHARE_PATTERN = r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)%?$"
_SHARE = re.compile(SHARE_PATTERN)

_NUMBER = r"-?[0-9]{1,12}(\.[0-9]{1,9})?(%|ms|s|m|h)?"
LIMIT_PATTERN = rf"^({_NUMBER})$"
LIMIT_TEMPLATE_PATTERN = rf"^({_NUMBER}|\{{\{{ *args\.[a-zA-Z0-9_-]{{1,63}} *\}}\}})$"
_LIMIT = re.compile(r"^(-?[0-9]{1,12}(?:\.[0-9]{1,9})?)(%|ms|s|m|h)?$")
_LIMIT_UNITS = {
    "": Fraction(1),
    "%": Fraction(1, 100),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}


LARGEST_NUMBER = 2**53 - 1
"""Largest number, up or down, that a document may have: every reader of JSON keeps whole numbers up to here."""

OPEN_TYPE = "x-kubernetes-preserve-unknown-fields"


def number_or_string(**bounds: Any) -> dict[str, Any]:
    """A structural schema that takes numbers and strings and nothing else.

    Of `bounds`, `minimum` and `maximum` bind numbers; `pattern` and `maxLength` bind strings. A field of a structural
    schema has one type, and an int-or-string takes no fraction: so the type is left open, and a list, an object, true
    and false meet bounds that none of them can keep. CEL rules do not see a field without a type.
    """
    none_of_these = {"minItems": 1, "maxItems": 0, "minProperties": 1, "maxProperties": 0}
    return {OPEN_TYPE: True, **bounds, **none_of_these, "not": {"enum": [True, False]}}


def takes_number_or_string(schema: dict[str, Any]) -> bool:
    """Whether a schema was made by `number_or_string`."""
    return bool(schema.get(OPEN_TYPE)) and "type" not in schema and "not" in schema


def _decimal(raw: float) -> str | None:
    """The shortest decimal that means this number, without an exponent; None if there is none."""
    if not abs(raw) <= LARGEST_NUMBER:  # nor is NaN
        return None
    return str(int(raw)) if raw == int(raw) else format(Decimal(repr(raw)), "f")


def _argument(raw: Any) -> Any:
    """A number as text: it will be a part of a query, or a limit."""
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return (_decimal(raw) or raw) if is_number else raw


MAX_ARGUMENT = 256
ArgumentText = Annotated[
    str,
    BeforeValidator(_argument),
    Field(max_length=MAX_ARGUMENT),
    WithJsonSchema(number_or_string(minimum=-LARGEST_NUMBER, maximum=LARGEST_NUMBER, maxLength=MAX_ARGUMENT)),
]
"""The value of an argument: text, or a number, which is read as its shortest decimal."""


class _Parsed:
    """Shared pydantic glue: a class with `parse` and `text`, written in JSON as it was read."""

    _schema: ClassVar[dict[str, Any]]

    @classmethod
    def parse(cls, raw: Any) -> Self:
        raise NotImplementedError

    def dump(self) -> str | int | float:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda raw: raw if isinstance(raw, cls) else cls.parse(raw),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.dump()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(cls._schema)


@dataclass(frozen=True, slots=True)
class Duration(_Parsed):
    """A Gateway API duration (GEP-2257): up to four parts of h, m, s, ms; `milliseconds` in all."""

    milliseconds: int
    text: str

    _schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32}

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read `5m`, `1h30m`, `500ms`.

        Raises:
            ValueError: not a duration.

        """
        if not isinstance(raw, str) or not _DURATION.fullmatch(raw):
            raise ValueError(f'{raw!r} is not a duration; write for example "30s", "5m" or "1h30m"')
        parts = _DURATION_PART.findall(raw)
        return cls(sum(int(count) * _MILLISECONDS[unit] for count, unit in parts), raw)

    @property
    def delta(self) -> timedelta:
        return timedelta(milliseconds=self.milliseconds)

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    def dump(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Share(_Parsed):
    """A share of what the pair gets, 0 to 100 percent, exact: `percent` is a fraction such as 1/2 for `0.5%`."""

    percent: Fraction

    _schema: ClassVar[dict[str, Any]] = number_or_string(minimum=0, maximum=100, pattern=SHARE_PATTERN, maxLength=10)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read `10`, `0.5`, `"10"`, `"10%"` or `"0.5%"` (up to four decimals).

        Raises:
            ValueError: not a share, or outside 0 to 100 percent.

        """
        match raw:
            case bool():
                pass
            case int() | float() if (text := _decimal(raw)) and _SHARE.fullmatch(text):
                return cls(Fraction(text))
            case str() if _SHARE.fullmatch(raw):
                return cls(Fraction(raw.removesuffix("%")))
            case _:
                pass
        raise ValueError(f'{raw!r} is not a share; write 0 to 100, such as 10, 0.5 or "0.5%", with up to four decimals')

    def dump(self) -> str | int:
        return int(self.percent) if self.percent.denominator == 1 else f"{decimal_text(self.percent)}%"

    def __str__(self) -> str:
        return f"{decimal_text(self.percent)} %"


ZERO = Share(Fraction(0))
FULL = Share(Fraction(100))


@dataclass(frozen=True, slots=True)
class Limit(_Parsed):
    """A threshold in base units: `0.01`, `1%` (0.01), `300ms` (0.3 seconds), or a template argument.

    `number` is None while `text` is a template such as `{{ args.limit }}`.
    """

    number: Fraction | None
    text: str

    _schema: ClassVar[dict[str, Any]] = number_or_string(
        minimum=-LARGEST_NUMBER, maximum=LARGEST_NUMBER, pattern=LIMIT_TEMPLATE_PATTERN, maxLength=96
    )

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a number, a decimal in a string, a percentage, a duration, or `{{ args.name }}`.

        Raises:
            ValueError: none of these.

        """
        match raw:
            case bool():
                pass
            case int() | float() if text := _decimal(raw):
                return cls(Fraction(text), text)
            case str():
                found = _LIMIT.fullmatch(raw)
                if found:
                    return cls(Fraction(found[1]) * _LIMIT_UNITS[found[2] or ""], raw)
                if re.fullmatch(LIMIT_TEMPLATE_PATTERN, raw):
                    return cls(None, raw)
            case _:
                pass
        raise ValueError(f'{raw!r} is not a limit; write a number, or a string such as "1%" or "300ms"')

    @property
    def unit(self) -> str:
        """As it is written: `%`, or `ms`, `s`, `m`, `h` of a duration; empty where there is none."""
        found = _LIMIT.fullmatch(self.text)
        return (found[2] or "") if found else ""

    @property
    def measures(self) -> str:
        """What the unit is of: `percentage` or `duration`; empty where there is none."""
        return {"": "", "%": "percentage"}.get(self.unit, "duration")

    def dump(self) -> str | int | float:
        if self.number is not None and self.number.denominator == 1 and str(int(self.number)) == self.text:
            return int(self.number)
        # More decimals than a string may have can only have been a number.
        return self.text if self.number is None or _LIMIT.fullmatch(self.text) else float(self.text)

    def __str__(self) -> str:
        return self.text


ALPHA_PATTERN = (
    r"^(([1-9]|[1-4][0-9])(\.[0-9]{1,2})?%|0\.(0[1-9]|[1-9][0-9]?)%"
    r"|0\.([1-4][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9]))$"
)
_ALPHA = re.compile(ALPHA_PATTERN)
_ALPHAS = (0.0001, 0.4999)


@dataclass(frozen=True, slots=True)
class Alpha(_Parsed):
    """The chance to call something wrong that is right: 0.0001 to 0.4999, exact."""

    chance: Fraction
    text: str

    _meaning: ClassVar[str] = "no alpha; write a chance"

    _schema: ClassVar[dict[str, Any]] = number_or_string(
        minimum=_ALPHAS[0], maximum=_ALPHAS[1], pattern=ALPHA_PATTERN, maxLength=8
    )

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read `0.01`, `"0.01"` or `"1%"`.

        Raises:
            ValueError: none of these, or no chance that a check may have.

        """
        match raw:
            case bool():
                pass
            case int() | float() if _ALPHAS[0] <= raw <= _ALPHAS[1] and (text := _decimal(raw)):
                return cls(Fraction(text), text)
            case str() if _ALPHA.fullmatch(raw):
                percent = raw.endswith("%")
                return cls(Fraction(raw.removesuffix("%")) / (100 if percent else 1), raw)
            case _:
                pass
        raise ValueError(f'{raw!r} is {cls._meaning} such as 0.01 or "1%", from 0.01 % to 49 %')

    def dump(self) -> str | float:
        return self.text if _ALPHA.fullmatch(self.text) else float(self.text)

    def __str__(self) -> str:
        return self.text


class Part(Alpha):
    """A part of all: 0.0001 to 0.4999, exact."""

    _meaning: ClassVar[str] = "no part of all; write one"

    @property
    def part(self) -> Fraction:
        return self.chance


def decimal_text(value: Fraction) -> str:
    """Write an exact fraction as a short decimal: 50, 0.5, 33.3333 (at most four decimals)."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.4f}".rstrip("0").rstrip(".")


def number(value: Fraction) -> int | float:
    """Give JSON a whole number where there is one, else a float rounded to four decimals."""
    return int(value) if value.denominator == 1 else round(float(value), 4)
