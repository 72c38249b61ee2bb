"""Faults on order: latency, error codes, lost connections, before or after a request took effect."""

from __future__ import annotations

from dataclasses import dataclass

from canary.sandbox.apiserver.requests import Request


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong, for which requests, how often.

    An empty matcher matches everything. `resource` is a plural; `status` an HTTP code (None: none, only `latency`, in
    seconds, or `drop`); `times` how many requests it hits (None: every one). With `after_effect` the request is carried
    out first and its answer is lost: replaced by `status`, or, with `drop`, by a broken connection.
    """

    verb: str = ""
    resource: str = ""
    status: int | None = None
    latency: float = 0.0
    times: int | None = 1
    after_effect: bool = False
    drop: bool = False
    subresource: str | None = None
    namespace: str = ""
    name: str = ""
    user: str = ""
    hits: int = 0

    def matches(self, request: Request, user: str) -> bool:
        return (
            self.verb in {"", request.verb}
            and self.resource in {"", request.resource}
            and self.subresource in {None, request.subresource}
            and self.namespace in {"", request.namespace}
            and self.name in {"", request.name}
            and self.user in {"", user}
        )


class Faults:
    """The faults in force, oldest first; the first that matches a request is the one that hits it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force; returns it, so that its `hits` can be read or it can be removed."""
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, request: Request, user: str) -> Fault | None:
        """The fault for this request, used up once."""
        for fault in self._faults:
            if fault.matches(request, user):
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
