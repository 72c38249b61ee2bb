"""What a target names of a Secret: a URL, or a secret to sign with. Read when it is needed, and kept no longer than that."""

from __future__ import annotations

from canary.metrics.secrets import ACCOUNT, Content, Read, Unshown, content_of


class TargetSecrets:
    """Keys of Secrets. `own` is the namespace of the controller, for targets of the platform team."""

    def __init__(self, read: Read, own: str) -> None:
        self._read, self.own = read, own

    async def value(self, name: str, key: str, namespace: str) -> tuple[Content, bytes]:
        """A Secret, and what a key of it holds; `namespace` empty: that of the controller. Raises Unshown."""
        place = namespace or self.own
        content = await content_of(self._read, name, place, platform=not namespace)
        if content.kind == ACCOUNT:
            raise Unshown(
                "BadSecret",
                f"Secret {name} is the token of a service account, which is for the API server and nobody else",
            )
        found = content.data.get(key)
        if found is None:
            raise Unshown(
                "BadSecret", f"Secret {name} in namespace {place} has no key {key}; add it, or correct the key"
            )
        return content, found
