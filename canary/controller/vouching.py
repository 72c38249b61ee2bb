"""Whether an admission policy sees to it that requests are by whom they say: that is tried, and nothing is kept of it.

Who may read policies could look whether there is one, and would have to know that it is bound to this namespace, matches, and is in
force. That the API server refuses a lie about this very Rollout says all of that, and takes no right that we do not have.
"""

from __future__ import annotations

from canary.errors import ApiError, Forbidden, Refused, Unprocessable
from canary.fair import FairLimit
from canary.json_patch import add, pointer
from canary.kube import ROLLOUTS, Kube
from canary.model.requests import APPROVES, AS_ANNOTATION, REQUEST_ANNOTATION, claim

AT_ONCE = 8
"""Rollouts of which it is tried at a time: few, since writes of routes share the connections, and admission may be slow (`canary.fair`)."""

NOBODY = "canary.dev:nobody"
"""A user that is none."""
_LIE = f"{APPROVES}: a lie, to see whether it is refused"
_ANNOTATIONS = pointer("metadata", "annotations")


async def vouched(kube: Kube, namespace: str, name: str) -> bool:
    """Whether a request is refused to us that claims to be by NOBODY, and is not where it claims nothing. Raises ApiError: nobody can tell."""
    await _tried(kube, namespace, name, {REQUEST_ANNOTATION: _LIE})
    try:
        await _tried(kube, namespace, name, {REQUEST_ANNOTATION: _LIE, AS_ANNOTATION: claim(NOBODY, (), _LIE)})
    except (Unprocessable, Forbidden, Refused):
        return True
    return False


async def vouched_if_known(kube: Kube, limit: FairLimit, namespace: str, name: str) -> bool | None:
    """The same, when it is the Rollout's turn; None: nobody can tell now."""
    try:
        async with limit.held((namespace, name)):
            return await vouched(kube, namespace, name)
    except ApiError:
        return None


async def _tried(kube: Kube, namespace: str, name: str, annotations: dict[str, str]) -> None:
    """What would be kept of these annotations, in place of all that there are: nothing of it is."""
    await kube.json_patch(ROLLOUTS, name, namespace, [add(_ANNOTATIONS, annotations)], dry_run=True)
