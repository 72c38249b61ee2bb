"""OpenAPI schemas of the built-in kinds, as closed as clients of the sandbox need them.

Members of a kind are listed, so a misspelt one is found; deep parts that nothing here reads (affinity, probes, volume
sources, ...) are open objects.
"""

from __future__ import annotations

from typing import Any

from canary_sandbox.apiserver.errors import Json

STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer", "format": "int32"}
INT64: Json = {"type": "integer", "format": "int64"}
BOOLEAN: Json = {"type": "boolean"}
MICRO_TIME: Json = {"type": "string", "format": "micro-time", "nullable": True}
TIME: Json = {"type": "string", "format": "date-time", "nullable": True}
OPEN: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
STRINGS: Json = {"type": "array", "items": STRING}
STRING_MAP: Json = {"type": "object", "additionalProperties": STRING}
INT_OR_STRING: Json = {"x-kubernetes-int-or-string": True}
OPENS: Json = {"type": "array", "items": OPEN}


def obj(required: str = "", /, **properties: Any) -> Json:
    """A closed object; `required` names members, separated by blanks."""
    schema: Json = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required.split()
    return schema


def arr(items: Json, **more: Any) -> Json:
    """A list."""
    return {"type": "array", "items": items, **more}


def enum(*values: str, default: str | None = None) -> Json:
    """A text out of `values`."""
    schema: Json = {"type": "string", "enum": list(values)}
    return schema if default is None else {**schema, "default": default}


def num(minimum: int, maximum: int, **more: Any) -> Json:
    """An integer between two bounds, both included."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, **more}


def opens(names: str) -> dict[str, Json]:
    """An open object for each name."""
    return dict.fromkeys(names.split(), OPEN)


def strings(names: str) -> dict[str, Json]:
    """A text for each name."""
    return dict.fromkeys(names.split(), STRING)


def booleans(names: str) -> dict[str, Json]:
    """A boolean for each name."""
    return dict.fromkeys(names.split(), BOOLEAN)


def integers(names: str) -> dict[str, Json]:
    """A 32-bit integer for each name."""
    return dict.fromkeys(names.split(), INTEGER)


def atomic(schema: Json) -> Json:
    """An object that has one owner as a whole."""
    return {**schema, "x-kubernetes-map-type": "atomic"}


def keyed(items: Json, *keys: str, **more: Any) -> Json:
    """A list whose elements are known, and owned, by these members."""
    return arr(items, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}, **more)


METADATA: Json = obj(
    **strings("name generateName namespace selfLink uid resourceVersion"),
    generation=INT64,
    creationTimestamp=TIME,
    deletionTimestamp=TIME,
    deletionGracePeriodSeconds=INT64,
    labels=STRING_MAP,
    annotations=STRING_MAP,
    finalizers={**STRINGS, "x-kubernetes-list-type": "set"},
    ownerReferences=keyed(
        atomic(obj(**strings("apiVersion kind name uid"), **booleans("controller blockOwnerDeletion"))), "uid"
    ),
    managedFields=OPENS,
)


def root(**properties: Any) -> Json:
    """The schema of a whole kind."""
    return obj(apiVersion=STRING, kind=STRING, metadata=METADATA, **properties)


CONDITION = obj(
    "type status",
    **strings("type status reason message"),
    lastTransitionTime=TIME,
    lastUpdateTime=TIME,
    lastProbeTime=TIME,
    lastHeartbeatTime=TIME,
    observedGeneration=INT64,
)
CONDITIONS = keyed(CONDITION, "type")
SELECTOR = atomic(
    obj(matchLabels=STRING_MAP, matchExpressions=arr(obj("key operator", **strings("key operator"), values=STRINGS)))
)
REFERENCE = atomic(obj(**strings("apiVersion kind namespace name uid resourceVersion fieldPath")))

PORT = num(1, 65535)
PROTOCOL = enum("TCP", "UDP", "SCTP", default="TCP")


def loose(**properties: Any) -> Json:
    """An open object of which these members are known, and given their defaults."""
    return {**OPEN, "properties": properties}


def given(value: Any, schema: Json) -> Json:
    """A schema with a default."""
    return {**schema, "default": value}


_MODE = given(420, INTEGER)
_HTTP_GET = loose(scheme=given("HTTP", STRING), path=given("/", STRING), port=INT_OR_STRING, host=STRING)
_PROBE = loose(
    timeoutSeconds=given(1, INTEGER),
    periodSeconds=given(10, INTEGER),
    successThreshold=given(1, INTEGER),
    failureThreshold=given(3, INTEGER),
    initialDelaySeconds=INTEGER,
    httpGet=_HTTP_GET,
    grpc=loose(service=given("", STRING), port=INTEGER),
)
_FIELD_REF = atomic(loose(apiVersion=given("v1", STRING), fieldPath=STRING))
_ENV_SOURCE = loose(
    fieldRef=_FIELD_REF, **dict.fromkeys(("configMapKeyRef", "secretKeyRef", "resourceFieldRef"), atomic(OPEN))
)
_AMOUNTS: Json = {"type": "object", "additionalProperties": INT_OR_STRING}
_RESOURCES = loose(limits=_AMOUNTS, requests=_AMOUNTS)
_ITEMS = arr(loose(fieldRef=_FIELD_REF))
VOLUME = loose(
    name=STRING,
    configMap=loose(defaultMode=_MODE, name=STRING),
    secret=loose(defaultMode=_MODE, secretName=STRING),
    downwardAPI=loose(defaultMode=_MODE, items=_ITEMS),
    projected=loose(defaultMode=_MODE),
    hostPath=loose(type=given("", STRING), path=STRING),
)
CONTAINER = obj(
    "name",
    name=STRING,
    **strings("image workingDir restartPolicy"),
    terminationMessagePath={**STRING, "default": "/dev/termination-log"},
    terminationMessagePolicy=enum("File", "FallbackToLogsOnError", default="File"),
    imagePullPolicy=enum("Always", "IfNotPresent", "Never"),
    **dict.fromkeys(("command", "args"), STRINGS),
    ports=keyed(
        obj("containerPort", containerPort=PORT, hostPort=PORT, protocol=PROTOCOL, name=STRING, hostIP=STRING),
        "containerPort",
        "protocol",
    ),
    env=keyed(obj("name", name=STRING, value=STRING, valueFrom=_ENV_SOURCE), "name"),
    envFrom=OPENS,
    resources=given({}, _RESOURCES),
    volumeMounts=keyed(OPEN, "mountPath"),
    volumeDevices=keyed(OPEN, "devicePath"),
    resizePolicy=OPENS,
    **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe"), _PROBE),
    **opens("lifecycle securityContext"),
    **booleans("stdin stdinOnce tty"),
    targetContainerName=STRING,
)
POD_SPEC = obj(
    "containers",
    containers=keyed(CONTAINER, "name", minItems=1),
    initContainers=keyed(CONTAINER, "name"),
    ephemeralContainers=keyed(CONTAINER, "name"),
    restartPolicy=enum("Always", "OnFailure", "Never", default="Always"),
    dnsPolicy=enum("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None", default="ClusterFirst"),
    schedulerName={**STRING, "default": "default-scheduler"},
    terminationGracePeriodSeconds={**INT64, "default": 30},
    securityContext={**OPEN, "default": {}},
    **strings(
        "serviceAccountName serviceAccount nodeName hostname subdomain priorityClassName preemptionPolicy runtimeClassName"
    ),
    **booleans(
        "automountServiceAccountToken hostNetwork hostPID hostIPC hostUsers shareProcessNamespace enableServiceLinks "
        "setHostnameAsFQDN"
    ),
    **integers("priority activeDeadlineSeconds"),
    nodeSelector=atomic(STRING_MAP),
    overhead=OPEN,
    volumes=keyed(VOLUME, "name"),
    **dict.fromkeys(("imagePullSecrets", "schedulingGates", "resourceClaims"), keyed(OPEN, "name")),
    hostAliases=keyed(OPEN, "ip"),
    topologySpreadConstraints=keyed(OPEN, "topologyKey", "whenUnsatisfiable"),
    **dict.fromkeys(("tolerations", "readinessGates"), OPENS),
    **opens("affinity dnsConfig os resources"),
)
TEMPLATE = obj(metadata=METADATA, spec=POD_SPEC)

_REPLICAS: Json = {**INTEGER, "minimum": 0, "default": 1}
_ROLLING = obj(maxSurge=INT_OR_STRING, maxUnavailable=INT_OR_STRING)
_STRATEGY = obj(type=enum("RollingUpdate", "Recreate", default="RollingUpdate"), rollingUpdate=_ROLLING)
_EVERY: Json = {
    "selector": SELECTOR, "template": TEMPLATE, "minReadySeconds": {**INTEGER, "minimum": 0},
    "revisionHistoryLimit": {**INTEGER, "default": 10},
}  # fmt: skip
DEPLOYMENT = root(
    spec=obj(
        "selector template",
        **_EVERY,
        replicas=_REPLICAS,
        strategy=given({}, _STRATEGY),
        progressDeadlineSeconds={**INTEGER, "default": 600},
        paused=BOOLEAN,
    ),
    status=obj(
        observedGeneration=INT64,
        **integers(
            "replicas updatedReplicas readyReplicas availableReplicas unavailableReplicas terminatingReplicas "
            "collisionCount"
        ),
        conditions=CONDITIONS,
    ),
)
REPLICA_SET = root(
    spec=obj("selector", replicas=_REPLICAS, minReadySeconds=INTEGER, selector=SELECTOR, template=TEMPLATE),
    status=obj(
        observedGeneration=INT64,
        **integers("replicas fullyLabeledReplicas readyReplicas availableReplicas terminatingReplicas"),
        conditions=CONDITIONS,
    ),
)
_UPDATES = given({}, obj(type=enum("RollingUpdate", "OnDelete", default="RollingUpdate"), rollingUpdate=OPEN))
_SEEN: Json = {"observedGeneration": INT64, "conditions": CONDITIONS, "collisionCount": INTEGER}
STATEFUL_SET = root(
    spec=obj("selector template", **_EVERY, replicas=_REPLICAS, serviceName=STRING, volumeClaimTemplates=OPENS,
             podManagementPolicy=enum("OrderedReady", "Parallel", default="OrderedReady"), updateStrategy=_UPDATES,
             **opens("persistentVolumeClaimRetentionPolicy ordinals")),
    status=obj(**_SEEN, **strings("currentRevision updateRevision"),
               **integers("replicas readyReplicas currentReplicas updatedReplicas availableReplicas")),
)  # fmt: skip
DAEMON_SET = root(
    spec=obj("selector template", **_EVERY, updateStrategy=_UPDATES),
    status=obj(**_SEEN, **integers("currentNumberScheduled numberMisscheduled desiredNumberScheduled numberReady "
                                   "updatedNumberScheduled numberAvailable numberUnavailable")),
)  # fmt: skip
_JOB_TIMES = dict.fromkeys(("startTime", "completionTime"), TIME)
JOB = root(
    spec=obj(
        "template",
        **integers("parallelism completions backoffLimit ttlSecondsAfterFinished activeDeadlineSeconds"),
        template=TEMPLATE,
    ),
    status=given({}, obj(conditions=CONDITIONS, **_JOB_TIMES, **integers("active succeeded failed ready"))),
)
SERVICE = root(
    spec=obj(
        type=enum("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", default="ClusterIP"),
        selector=atomic(STRING_MAP),
        ports=keyed(
            obj(
                "port",
                port=PORT,
                protocol=PROTOCOL,
                targetPort=INT_OR_STRING,
                nodePort=num(0, 65535),
                **strings("name appProtocol"),
            ),
            "port",
            "protocol",
        ),
        **strings("clusterIP externalName loadBalancerIP loadBalancerClass trafficDistribution"),
        sessionAffinity=enum("None", "ClientIP", default="None"),
        sessionAffinityConfig=OPEN,
        internalTrafficPolicy=enum("Cluster", "Local"),
        externalTrafficPolicy=enum("Cluster", "Local"),
        ipFamilyPolicy=enum("SingleStack", "PreferDualStack", "RequireDualStack"),
        **dict.fromkeys(("clusterIPs", "externalIPs", "loadBalancerSourceRanges", "ipFamilies"), STRINGS),
        **booleans("publishNotReadyAddresses allocateLoadBalancerNodePorts"),
        healthCheckNodePort=INTEGER,
    ),
    status=given({}, obj(loadBalancer=given({}, loose(ingress=arr(loose(ip=STRING)))), conditions=CONDITIONS)),
)
NAMESPACE = root(
    spec={**obj(finalizers=STRINGS), "default": {}},
    status={**obj(phase=STRING, conditions=CONDITIONS), "default": {"phase": "Active"}},
)
POD = root(spec=POD_SPEC, status={**OPEN, "default": {}})
EVENT = root(
    involvedObject=REFERENCE,
    **strings("reason message type action reportingComponent reportingInstance"),
    source=obj(**strings("component host")),
    **dict.fromkeys(("firstTimestamp", "lastTimestamp"), TIME),
    eventTime=MICRO_TIME,
    count=INTEGER,
    series=loose(count=INTEGER, lastObservedTime=MICRO_TIME),
    related=REFERENCE,
)
EVENT["required"] = ["involvedObject"]
CONFIG_MAP = root(data=STRING_MAP, binaryData=STRING_MAP, immutable=BOOLEAN)
SECRET = root(
    data={"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
    stringData=STRING_MAP,
    type={**STRING, "default": "Opaque"},
    immutable=BOOLEAN,
)
SERVICE_ACCOUNT = root(secrets=keyed(OPEN, "name"), imagePullSecrets=OPENS, automountServiceAccountToken=BOOLEAN)
ADDRESS = obj("ip", **strings("ip hostname nodeName"), targetRef=REFERENCE)
ENDPOINTS = root(
    subsets=arr(
        obj(
            addresses=arr(ADDRESS),
            notReadyAddresses=arr(ADDRESS),
            ports=arr(obj("port", port=PORT, protocol=PROTOCOL, **strings("name appProtocol"))),
        )
    )
)
NODE = root(spec=OPEN, status=OPEN)
ENDPOINT_SLICE = root(
    addressType=enum("IPv4", "IPv6", "FQDN"),
    endpoints=arr(
        obj(
            "addresses",
            addresses={**STRINGS, "minItems": 1, "maxItems": 100},
            conditions={**obj(**booleans("ready serving terminating")), "default": {}},
            **strings("hostname nodeName zone"),
            targetRef=REFERENCE,
            deprecatedTopology=STRING_MAP,
            hints=OPEN,
        ),
        maxItems=1000,
    ),
    ports=arr(obj(name={**STRING, "default": ""}, protocol=PROTOCOL, port=PORT, appProtocol=STRING)),
)
ENDPOINT_SLICE["required"] = ["addressType"]
LEASE = root(
    spec=obj(
        **strings("holderIdentity strategy preferredHolder"),
        leaseDurationSeconds={**INTEGER, "minimum": 1},
        leaseTransitions={**INTEGER, "minimum": 0},
        acquireTime=MICRO_TIME,
        renewTime=MICRO_TIME,
    )
)
POD_DISRUPTION_BUDGET = root(
    spec=obj(
        minAvailable=INT_OR_STRING,
        maxUnavailable=INT_OR_STRING,
        selector=SELECTOR,
        unhealthyPodEvictionPolicy=enum("IfHealthyBudget", "AlwaysAllow"),
    ),
    status=obj(
        observedGeneration=INT64,
        disruptedPods=OPEN,
        **integers("disruptionsAllowed currentHealthy desiredHealthy expectedPods"),
        conditions=CONDITIONS,
    ),
)
HORIZONTAL_POD_AUTOSCALER = root(
    spec=obj(
        scaleTargetRef=obj("kind name", apiVersion=STRING, kind=STRING, name=STRING),
        **integers("minReplicas maxReplicas"),
        metrics=arr(OPEN),
        behavior=OPEN,
    ),
    status=obj(
        observedGeneration=INT64,
        lastScaleTime=STRING,
        **integers("currentReplicas desiredReplicas"),
        currentMetrics=arr(OPEN),
        conditions=CONDITIONS,
    ),
)
_PEERS = arr(
    obj(podSelector=SELECTOR, namespaceSelector=SELECTOR, ipBlock=obj("cidr", cidr=STRING, **{"except": STRINGS}))
)
_POLICY_PORTS = arr(obj(protocol=PROTOCOL, port=INT_OR_STRING, endPort=PORT))
NETWORK_POLICY = root(
    spec=obj(
        podSelector=SELECTOR,
        ingress=arr(obj(**{"from": _PEERS, "ports": _POLICY_PORTS})),
        egress=arr(obj(to=_PEERS, ports=_POLICY_PORTS)),
        policyTypes=arr(enum("Ingress", "Egress")),
    )
)
_RULE = obj("verbs", **dict.fromkeys(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), STRINGS))
ROLE = root(rules=arr(_RULE))
CLUSTER_ROLE = root(rules=arr(_RULE), aggregationRule=obj(clusterRoleSelectors=arr(SELECTOR)))
ROLE_BINDING = root(
    subjects=arr(obj("kind name", **strings("kind name namespace apiGroup"))),
    roleRef=atomic(obj("kind name", **strings("kind name apiGroup"))),
)
ROLE_BINDING["required"] = ["roleRef"]
_CRD_NAMES = obj("plural kind", **strings("plural singular kind listKind"), shortNames=STRINGS, categories=STRINGS)
CRD = root(
    spec=obj(
        "group names scope versions",
        group=STRING,
        names=_CRD_NAMES,
        scope=enum("Cluster", "Namespaced"),
        versions=arr(
            obj(
                "name served storage",
                **strings("name deprecationWarning"),
                **booleans("served storage deprecated"),
                schema=obj(openAPIV3Schema=OPEN),
                subresources=obj(
                    status=OPEN, scale=obj(**strings("specReplicasPath statusReplicasPath labelSelectorPath"))
                ),
                additionalPrinterColumns=arr(
                    obj("name type jsonPath", **strings("name type jsonPath format description"), priority=INTEGER)
                ),
                selectableFields=arr(obj("jsonPath", jsonPath=STRING)),
            ),
            minItems=1,
        ),
        conversion={**obj("strategy", strategy=enum("None", "Webhook"), webhook=OPEN), "default": {"strategy": "None"}},
        preserveUnknownFields=BOOLEAN,
    ),
    status=obj(acceptedNames=obj(**_CRD_NAMES["properties"]), conditions=CONDITIONS, storedVersions=STRINGS),
)
CRD["required"] = ["spec"]
