"""A copy of everything that an API server holds, as bytes: written by one, read by the next. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from canary.errors import SandboxError
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.store import GroupResource, Store, encode

FORMAT = "canary-sandbox-cluster"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Objects with their resources, the revision of the whole, and the tokens that are good."""

    revision: int
    objects: tuple[tuple[GroupResource, Json], ...]
    tokens: Json

    @classmethod
    def load(cls, raw: bytes) -> Self:
        """Read what `dump` wrote. Raises SandboxError with a sentence when it is anything else."""
        try:
            whole = json.loads(raw)
        except ValueError as error:
            raise SandboxError(f"it is no JSON, or not all of it: {error}") from error
        if not isinstance(whole, dict) or whole.get("format") != FORMAT:
            raise SandboxError(f"it is not of the format {FORMAT}")
        if whole.get("version") != VERSION:
            raise SandboxError(f"it is of version {whole.get('version')}, and this program reads version {VERSION}")
        try:
            snapshot = cls(
                int(whole["revision"]),
                tuple(((item["group"], item["plural"]), item["object"]) for item in whole["objects"]),
                {"admin": str(whole["tokens"]["admin"]), **whole["tokens"]},
            )
            # What cannot be restored is found here, before anybody relies on it.
            Store().restore(snapshot.revision, snapshot.objects)
            bytes.fromhex(snapshot.tokens["key"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SandboxError(f"something in it is missing or wrong: {type(error).__name__} {error}") from error
        return snapshot


def dump(store: Store, tokens: Json) -> bytes:
    """All of a store and `tokens` as one JSON document; cheap, because each object keeps its JSON."""
    head = encode({"format": FORMAT, "version": VERSION, "revision": store.revision, "tokens": tokens})
    objects = (
        b'{"group":%s,"plural":%s,"object":%s}'
        % (encode(resource[0]), encode(resource[1]), stored.encoded(stored.doc["apiVersion"]))
        for resource, stored in store.everything()
    )
    return head[:-1] + b',"objects":[\n' + b",\n".join(objects) + b"\n]}\n"
