"""Times as the API writes them: RFC 3339 with milliseconds, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Time:
    """Annotation that reads and writes RFC 3339 with milliseconds, always UTC."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_time, serialization=core_schema.plain_serializer_function_ser_schema(format_time)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time"}


def parse_time(raw: Any) -> datetime:
    """Read RFC 3339 into an aware UTC datetime.

    What is read is bounded more closely than what is reckoned from it: however long a hold or a time away is that is added to it, the sum
    can be written.

    Raises:
        ValueError: not a time, or none that there is a point in reckoning with.

    """
    value = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
    if not 1970 <= value.year < (9000 if value is raw else 5000):
        raise ValueError(f"{raw!r} is no time of a run")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def format_time(value: datetime) -> str:
    """Write RFC 3339 with milliseconds and a Z."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, Time]
