"""Reason constants: on Events, conditions and log lines. Part of the API: alerts are written against them."""

from __future__ import annotations

from canary.preflight.findings import Reason

# Resting: what a preflight finds has the reasons of `canary.preflight.findings`, too
SETTLED = "Settled"
NOT_ACCEPTED_YET = Reason.NOT_ACCEPTED.value
ROUTE_NOT_ATTACHED = Reason.ROUTE_NOT_ATTACHED.value
WORKLOAD_MISSING = "WorkloadMissing"
STABLE_AT_ZERO = "StableAtZero"
TRAFFIC_AT_REST = "CanaryHasTraffic"
INVALID = "Invalid"
CONFLICTING_ROLLOUT = "ConflictingRollout"
SPEC_PAUSED = "SpecPaused"
REQUEST_PENDING = "RequestPending"
GRANTS_NOT_SEEN = "ReferenceGrantsNotSeen"
AUTOSCALERS_UNKNOWN = "AutoscalersUnknown"
REVISION_UNKNOWN = "RevisionUnknown"
CANARY_SCALED = "CanaryScaled"
CANARY_IN_USE = "CanaryInUse"

# A run begins and moves
RUN_STARTED = "RunStarted"
PREFLIGHT = "Preflight"
STEP_STARTED = "StepStarted"
HOLDING = "Holding"
HOLD_ENDED_EARLY = "HoldEndedEarly"
AWAITING_ACCEPTANCE = "AwaitingAcceptance"
AWAITING_APPROVAL = "AwaitingApproval"
AWAITING_CANARY = "AwaitingCanary"
PODS_NOT_UPDATED = "PodsNotUpdated"
AWAITING_REPLICAS = "AwaitingReplicas"
CANNOT_SCALE = "CannotScale"
GATE_CLOSED = "GateClosed"
GATE_OPENED = "GateOpened"
GATE_TIMED_OUT = "GateTimedOut"
AWAITING_VERDICTS = "AwaitingVerdicts"
CHECKS_UNKNOWN = "ChecksUnknown"
CHECKS_OBJECT = "ChecksObject"
SPLIT_MISMATCH = "SplitMismatch"
ROUTE_UNWRITABLE = "RouteUnwritable"
SUPERSEDED = "Superseded"
PLAN_CHANGED = "PlanChanged"

# A run stops
ABORTED = "Aborted"
CANARY_UNAVAILABLE = "CanaryUnavailable"
CANARY_AVAILABLE = "CanaryAvailable"
CANARY_TOO_SMALL = "CanaryTooSmall"
NOT_WRITTEN = "NotWritten"
CHECK_FAILED = "CheckFailed"
HOLD_LIMIT_EXCEEDED = "HoldLimitExceeded"
NOT_ACCEPTED = "NotAccepted"
MIRROR_UNRESOLVED = "MirrorUnresolved"
MIRROR_MISMATCH = "MirrorMismatch"
MATCH_REFUSED = "MatchRefused"
ROUTE_MISSING = "RouteMissing"
DEADLINE_EXCEEDED = "DeadlineExceeded"
ROLLING_BACK = "RollingBack"
ROLLED_BACK = "RolledBack"
RECOVERED = "Recovered"
LEFTOVER = "LeftoverRestored"
STABLE_NOT_RESTORED = "StableNotRestored"
UNREADABLE_RECORD = "UnreadableRecord"
STATUS_REFUSED = "StatusRefused"
SESSION_PERSISTENCE = "SessionPersistence"
RULES_MOVED = "RulesMoved"
RULE_EDITED = "RuleEdited"

# A run waits for a person
PAUSED_BY_REQUEST = "PausedByRequest"
PAUSED_BY_SPEC = "PausedBySpec"
LOWERED_BY_HAND = "LoweredByHand"
RAISED_BY_OTHER = "RaisedByOther"
CONTESTED = "Contested"
STABLE_CHANGED = "StableChanged"
RESUMED = "Resumed"

# A run ends well
PROMOTING = "Promoting"
AWAITING_STABLE = "AwaitingStable"
FINISHING = "Finishing"
COPY_ALTERED = "CopyAltered"
SUCCEEDED = "Succeeded"

# Requests and deletion
REQUEST_DONE = "RequestDone"
REQUEST_REFUSED = "RequestRefused"
REQUEST_ANSWERED = "RequestAnswered"
DELETING = "Deleting"
