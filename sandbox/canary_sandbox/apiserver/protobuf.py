"""Bodies in Kubernetes protobuf, which Go clients prefer for built-in kinds (`kubectl create namespace`, events, leases).

Only bodies are read in this form, answers are always JSON: every client accepts that. A message or a field that is not
in the tables below is refused with 501, so nothing is lost on the way.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from canary_sandbox.apiserver.errors import Json, bad_request, not_implemented

MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# One line per message: `number name type`. `[]` repeats; `*` marks what was set on purpose, so a zero of it is kept.
_TABLES = """
Unknown: 1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding string, 4 contentType string
TypeMeta: 1 apiVersion string, 2 kind string
ObjectMeta: 1 name string, 2 generateName string, 3 namespace string, 4 selfLink string, 5 uid string,
  6 resourceVersion string, 7 generation int, 8 creationTimestamp time, 9 deletionTimestamp time,
  10 deletionGracePeriodSeconds int*, 11 labels map, 12 annotations map, 13 ownerReferences []OwnerReference,
  14 finalizers []string, 17 managedFields skip
OwnerReference: 1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller bool*,
  7 blockOwnerDeletion bool*
DeleteOptions: 1 gracePeriodSeconds int*, 2 preconditions Preconditions, 3 orphanDependents bool*,
  4 propagationPolicy string, 5 dryRun []string
Preconditions: 1 uid string, 2 resourceVersion string
Namespace: 1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus
NamespaceSpec: 1 finalizers []string
NamespaceStatus: 1 phase string
ConfigMap: 1 metadata ObjectMeta, 2 data map, 3 binaryData bytesmap, 4 immutable bool*
Secret: 1 metadata ObjectMeta, 2 data bytesmap, 3 type string, 4 stringData map, 5 immutable bool*
ServiceAccount: 1 metadata ObjectMeta, 2 secrets []ObjectReference, 3 imagePullSecrets []LocalObjectReference,
  4 automountServiceAccountToken bool*
LocalObjectReference: 1 name string
ObjectReference: 1 kind string, 2 namespace string, 3 name string, 4 uid string, 5 apiVersion string,
  6 resourceVersion string, 7 fieldPath string
Service: 1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus
ServiceSpec: 1 ports []ServicePort, 2 selector map, 3 clusterIP string, 4 type string, 5 externalIPs []string,
  7 sessionAffinity string, 8 loadBalancerIP string, 9 loadBalancerSourceRanges []string, 10 externalName string,
  11 externalTrafficPolicy string, 12 healthCheckNodePort int, 13 publishNotReadyAddresses bool, 17 ipFamilyPolicy string,
  18 clusterIPs []string, 19 ipFamilies []string, 20 allocateLoadBalancerNodePorts bool*, 21 loadBalancerClass string,
  22 internalTrafficPolicy string, 23 trafficDistribution string
ServicePort: 1 name string, 2 protocol string, 3 port int, 4 targetPort intorstring, 5 nodePort int, 6 appProtocol string
ServiceStatus: 1 loadBalancer LoadBalancerStatus
LoadBalancerStatus: 1 ingress []LoadBalancerIngress
LoadBalancerIngress: 1 ip string, 2 hostname string
Deployment: 1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus
DeploymentSpec: 1 replicas int*, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy,
  5 minReadySeconds int, 6 revisionHistoryLimit int*, 7 paused bool, 9 progressDeadlineSeconds int*
DeploymentStrategy: 1 type string, 2 rollingUpdate RollingUpdateDeployment
RollingUpdateDeployment: 1 maxUnavailable intorstring, 2 maxSurge intorstring
DeploymentStatus: 1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, 4 availableReplicas int,
  5 unavailableReplicas int, 7 readyReplicas int, 8 collisionCount int*
LabelSelector: 1 matchLabels map, 2 matchExpressions []LabelSelectorRequirement
LabelSelectorRequirement: 1 key string, 2 operator string, 3 values []string
Pod: 1 metadata ObjectMeta, 2 spec PodSpec, 3 status PodStatus
PodStatus: 1 phase string, 3 message string, 4 reason string, 5 hostIP string, 6 podIP string, 9 qosClass string,
  11 nominatedNodeName string, 14 resize string
PodTemplateSpec: 1 metadata ObjectMeta, 2 spec PodSpec
PodSpec: 2 containers []Container, 3 restartPolicy string, 4 terminationGracePeriodSeconds int*,
  5 activeDeadlineSeconds int*, 6 dnsPolicy string, 7 nodeSelector map, 8 serviceAccountName string,
  9 serviceAccount string, 10 nodeName string, 11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool,
  14 securityContext Nothing, 15 imagePullSecrets []LocalObjectReference, 16 hostname string, 17 subdomain string,
  19 schedulerName string, 20 initContainers []Container, 21 automountServiceAccountToken bool*,
  24 priorityClassName string, 25 priority int*, 27 shareProcessNamespace bool*, 30 enableServiceLinks bool*
Nothing:
Container: 1 name string, 2 image string, 3 command []string, 4 args []string, 5 workingDir string,
  6 ports []ContainerPort, 7 env []EnvVar, 8 resources Nothing, 13 terminationMessagePath string,
  14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string
ContainerPort: 1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string
EnvVar: 1 name string, 2 value string
Event: 1 metadata ObjectMeta, 2 involvedObject ObjectReference, 3 reason string, 4 message string, 5 source EventSource,
  6 firstTimestamp time, 7 lastTimestamp time, 8 count int, 9 type string, 10 eventTime microtime, 11 series EventSeries,
  12 action string, 13 related ObjectReference, 14 reportingComponent string, 15 reportingInstance string
EventSource: 1 component string, 2 host string
EventSeries: 1 count int, 2 lastObservedTime microtime
Lease: 1 metadata ObjectMeta, 2 spec LeaseSpec
LeaseSpec: 1 holderIdentity string*, 2 leaseDurationSeconds int*, 3 acquireTime microtime, 4 renewTime microtime,
  5 leaseTransitions int*, 6 strategy string, 7 preferredHolder string
SelfSubjectReview: 1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus
SelfSubjectReviewStatus: 1 userInfo UserInfo
UserInfo: 1 username string, 2 uid string, 3 groups []string
SelfSubjectAccessReview: 1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status AccessStatus
SelfSubjectAccessReviewSpec: 1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes
ResourceAttributes: 1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string,
  6 subresource string, 7 name string
NonResourceAttributes: 1 path string, 2 verb string
AccessStatus: 1 allowed bool, 2 reason string, 3 evaluationError string, 4 denied bool
TokenRequest: 1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 status TokenRequestStatus
TokenRequestSpec: 1 audiences []string, 3 boundObjectRef BoundObjectReference, 4 expirationSeconds int*
TokenRequestStatus: 1 token string, 2 expirationTimestamp time
BoundObjectReference: 1 kind string, 2 apiVersion string, 3 name string, 4 uid string
Role: 1 metadata ObjectMeta, 2 rules []PolicyRule
ClusterRole: 1 metadata ObjectMeta, 2 rules []PolicyRule, 3 aggregationRule AggregationRule
AggregationRule: 1 clusterRoleSelectors []LabelSelector
PolicyRule: 1 verbs []string, 2 apiGroups []string, 3 resources []string, 4 resourceNames []string,
  5 nonResourceURLs []string
RoleBinding: 1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef
ClusterRoleBinding: 1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef
Subject: 1 kind string, 2 apiGroup string, 3 name string, 4 namespace string
RoleRef: 1 apiGroup string, 2 kind string, 3 name string
SelfSubjectRulesReview: 1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status RulesStatus
SelfSubjectRulesReviewSpec: 1 namespace string
RulesStatus: 3 incomplete bool, 4 evaluationError string
"""

_Fields = dict[int, tuple[str, str]]


def _parsed() -> dict[str, _Fields]:
    messages: dict[str, _Fields] = {}
    for line in _TABLES.strip().replace("\n  ", " ").splitlines():
        message, _, fields = line.partition(":")
        entries = (field.split() for field in fields.split(",") if field.strip())
        messages[message] = {int(number): (name, kind) for number, name, kind in entries}
    return messages


_MESSAGES = _parsed()


def decode(raw: bytes) -> Json:
    """The document of a body. Raises StatusError 400 when it is malformed, 501 for kinds and fields not in the tables."""
    if not raw.startswith(_MAGIC):
        raise bad_request("the body does not begin with the prefix of Kubernetes protobuf")
    try:
        envelope = _message("Unknown", raw[len(_MAGIC) :])
        kind = (envelope.get("typeMeta") or {}).get("kind", "")
        if kind not in _MESSAGES:
            raise not_implemented(f"kind {kind!r} in protobuf; send JSON (kubectl apply and replace do)")
        return {**envelope["typeMeta"], **_message(kind, envelope.get("raw", b""))}
    except (IndexError, UnicodeDecodeError, KeyError, TypeError, OverflowError) as error:
        raise bad_request(f"the body is not valid protobuf: {error}") from error


def _message(name: str, raw: bytes) -> Json:
    fields = _MESSAGES[name]
    result: Json = {}
    for number, value in _wire(raw):
        if number not in fields:
            raise not_implemented(f"field {number} of {name} in protobuf; send JSON")
        member, kind = fields[number]
        if kind == "skip":
            continue
        if kind in {"map", "bytesmap"}:
            entry = dict(_wire(value))
            text = entry.get(2, b"")
            shown = base64.b64encode(text).decode() if kind == "bytesmap" else text.decode()
            result.setdefault(member, {})[entry.get(1, b"").decode()] = shown
        elif kind.startswith("[]"):
            result.setdefault(member, []).append(_value(kind[2:], value))
        else:
            found = _value(kind.rstrip("*"), value)
            # Go writes every plain member, zero or not: as in JSON, zero means that it was not set.
            if kind.endswith("*") or found not in ("", 0, {}, None):
                result[member] = found
    return result


def _value(kind: str, value: Any) -> Any:
    match kind:
        case "string":
            return value.decode()
        case "raw":
            return value
        case "int":
            return value - 2**64 if value >= 2**63 else value
        case "bool":
            return bool(value)
        case "time" | "microtime":
            return _time(dict(_wire(value)), micro=kind == "microtime")
        case "intorstring":
            parts = dict(_wire(value))
            return parts.get(3, b"").decode() if parts.get(1) else _value("int", parts.get(2, 0))
        case _:
            return _message(kind, value)


def _time(parts: dict[int, Any], *, micro: bool) -> str | None:
    """RFC 3339; the zero time of Go is no time at all."""
    seconds = _value("int", parts.get(1, 0))
    if seconds <= 0:
        return None
    at = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{parts.get(2, 0) // 1000:06d}" if micro else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _wire(raw: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) pairs: an integer, or bytes."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(raw, at)
            if at + length > len(raw):
                raise bad_request("the body is not valid protobuf: it ends too soon")
            yield number, raw[at : at + length]
            at += length
        else:
            raise bad_request(f"the body is not valid protobuf: wire type {wire}")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = raw[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
