"""Which kinds are still being listed, and where: as long as they are, nothing of them is taken to be gone."""

from __future__ import annotations


class Lists:
    """Told by who follows something that all Rollouts may refer to. Of what nobody has told anything, all is known."""

    def __init__(self) -> None:
        self._awaited: set[tuple[str, str | None]] = set()

    def __bool__(self) -> bool:
        """Whether any is awaited."""
        return bool(self._awaited)

    def awaits(self, kind: str, namespace: str) -> bool:
        """Whether it is about to be known what there is of a kind in a namespace."""
        return bool(self._awaited) and not self._awaited.isdisjoint({(kind, None), (kind, namespace)})

    def awaited(self, kind: str, place: str | None) -> None:
        """It is being asked what there is in a namespace (None: in all)."""
        self._awaited.add((kind, place))

    def arrived(self, kind: str, place: str | None) -> bool:
        """That is known now, or known not to be; False when it is no news."""
        news = (kind, place) in self._awaited
        self._awaited.discard((kind, place))
        return news
