"""Which targets count, and which of them are told of a Rollout; and what a look at them costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from notify_kit import Ledger, rollout_of, status_of, target_of

from canary.notify.targets import MOST_COUNTED, TOO_MANY_TARGETS, Target, Targets, marks_of
from canary.preflight import selectors

Json = dict[str, Any]

MANY = [replace(target_of(), name=f"t{number:03}", uid=f"uid-{number}") for number in range(MOST_COUNTED + 50)]
LAST = f"t{MOST_COUNTED - 1:03}"


class Labels(dict[str, str]):
    """Counts how often somebody looks at a label."""

    looked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked += 1
        return super().get(key, default)


def names(targets: Targets, namespace: str = "team") -> list[str]:
    return [target.name for target in targets.of({"metadata": {"namespace": namespace}})]


def test_a_look_is_bounded_however_many_targets_a_team_makes() -> None:
    """And those that are told are the first by name, in whatever order they came."""
    targets = Targets()
    several = {"key": "tier", "operator": "In", "values": ["gold", "platinum"]}
    choice = target_of(selector={"matchExpressions": [several]}).choice
    for target in reversed(MANY):
        targets.put(replace(target, choice=choice))
    labels = Labels(tier="silver")
    assert targets.of({"metadata": {"namespace": "team", "labels": labels}}) == []
    assert labels.looked == MOST_COUNTED
    assert sum(targets.counts(target.key) for target in MANY) == MOST_COUNTED


def test_a_target_that_does_not_count_is_told_so_and_nothing_else() -> None:
    """By its condition, and as the answer to a test; the targets of others do not count along."""
    ledger = Ledger()
    notices = ledger.notices(*MANY[:MOST_COUNTED])
    other, platform = target_of(namespace="other"), target_of("platform", cluster=True)
    for target in (other, platform, replace(target_of("zebra", selector={"matchLabels": {"a": "b"}}), test="try")):
        notices.target(target)
    assert ledger.outcomes == [("NotificationTarget/zebra", TOO_MANY_TARGETS)]
    assert ledger.tests == [("try", TOO_MANY_TARGETS)]
    assert ledger.queued == []
    notices.recorded({"phase": "Idle"}, rollout_of(status_of(step=0), a="b"))
    assert "zebra" not in {key[2] for key, _ in ledger.queued}
    assert notices.targets.counted(other.key) is other
    assert notices.targets.counted(("NotificationTarget", "team", "zebra")) is None


def test_one_that_is_pushed_out_is_told_so_and_told_when_it_counts_again() -> None:
    """A target with a name before it came, and went."""
    ledger = Ledger()
    notices = ledger.notices(*MANY[:MOST_COUNTED])
    first = target_of("a")
    notices.target(first)
    assert ledger.outcomes == [(f"NotificationTarget/{LAST}", TOO_MANY_TARGETS)]
    written = notices.targets.get(("NotificationTarget", "team", LAST))
    assert written is not None
    notices.target(_said(written, TOO_MANY_TARGETS))
    ledger.outcomes.clear()
    notices.gone(first.key)
    assert ledger.outcomes == [(f"NotificationTarget/{LAST}", "NothingSent")]


@given(st.lists(st.tuples(st.integers(0, len(MANY) - 1), st.booleans()), max_size=40))
def test_who_comes_in_for_whom(moves: list[tuple[int, bool]]) -> None:
    """After any changes the first by name count, and each change names whoever else it concerns."""
    targets, known = Targets(), {target.key for target in MANY[20 : 20 + MOST_COUNTED]}
    for target in MANY[20 : 20 + MOST_COUNTED]:
        targets.put(target)
    for number, there in moves:
        target = MANY[number]
        before = {key for key in known if targets.counts(key)}
        other = targets.put(target) if there else targets.drop(target.key)
        known = known | {target.key} if there else known - {target.key}
        after = {key for key in known if targets.counts(key)}
        assert after == {*sorted(known)[:MOST_COUNTED]}
        assert ({other.key} if other is not None else set()) == (before ^ after) - {target.key}
        assert names(targets) == [key[2] for key in sorted(known)[:32]]


LABEL = st.sampled_from(["tier", "team"])
VALUE = st.sampled_from(["", "gold", "silver"])
TERM = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        LABEL,
        st.sampled_from(["In", "NotIn"]),
        st.lists(VALUE, min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator}, LABEL, st.sampled_from(["Exists", "DoesNotExist"])
    ),
)


@given(st.dictionaries(LABEL, VALUE), st.lists(TERM, max_size=3), st.dictionaries(LABEL, VALUE))
def test_a_target_chooses_as_selectors_do(match: Json, terms: list[Json], labels: dict[str, str]) -> None:
    """As the same selector does elsewhere."""
    selector = {"matchLabels": match, "matchExpressions": terms}
    read = selectors.read(selector)
    assert read is not None
    assert target_of(selector=selector).choice.met(labels, marks_of(labels)) is not bool(selectors.unmet(read, labels))


def _said(target: Target, reason: str) -> Target:
    """With this on record."""
    condition = {
        "type": "Delivered",
        "status": "False",
        "reason": reason,
        "lastTransitionTime": "2026-03-02T09:00:00.000Z",
    }
    document = {"kind": target.kind, "metadata": {"name": "x"}, "status": {"conditions": [condition]}}
    return replace(target, delivered=Target.of(document).delivered)
