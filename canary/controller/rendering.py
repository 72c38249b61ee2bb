"""What the checks of a run ask: rendered again when something that it may name has changed, and not at each look."""

from __future__ import annotations

from canary.checks.queries import Backend, check_query
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.objects import Key


class Rendering:
    """Of one Rollout. Nothing of an earlier spec is kept, so whoever renames checks for ever takes no memory."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._spec: RolloutSpec | None = None
        self._kept: dict[tuple[str, Backend | None], tuple[object, Source]] = {}

    @property
    def size(self) -> int:
        """How many sources are kept."""
        return len(self._kept)

    def __call__(
        self, check: ResolvedCheck, backend: Backend | None, spec: RolloutSpec, status: RolloutStatus
    ) -> Source:
        """The source of a check as it is asked now. Raises RenderError."""
        if spec is not self._spec:
            self._spec = spec
            self._kept.clear()
        namespace, name = self._key
        weight, step, swapped = float(status.split.desired), status.step, status.swapped
        declared = spec.steps[step.index - 1 : step.index] if step is not None and step.index else ()
        kind = declared[0].kind if declared else "weight"
        asked = (check, weight, kind, swapped)
        kept = self._kept.get((check.name, backend))
        if kept is not None and kept[0] == asked:
            return kept[1]
        source = check_query(check, spec, namespace, name, weight=weight, step=kind, swapped=swapped, backend=backend)
        self._kept[check.name, backend] = asked, source
        return source
