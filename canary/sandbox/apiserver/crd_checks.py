"""stub"""

from __future__ import annotations
from canary.sandbox.apiserver.errors import FieldError, Json


def check_definition(doc: Json, old: Json | None) -> list[FieldError]:
    return []
