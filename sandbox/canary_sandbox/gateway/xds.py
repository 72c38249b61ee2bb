"""Envoy's configuration as JSON documents: bootstrap, listeners, route tables, clusters, endpoints. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from canary_sandbox.addresses import Address
from canary_sandbox.gateway.objects import Backend, Json
from canary_sandbox.gateway.streams import Shares, Stream

_TYPE = "type.googleapis.com/"
LISTENER = _TYPE + "envoy.config.listener.v3.Listener"
ROUTES = _TYPE + "envoy.config.route.v3.RouteConfiguration"
CLUSTER = _TYPE + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
_HTTP = _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = _TYPE + "envoy.extensions.filters.http.router.v3.Router"
_GRPC_STATS = _TYPE + "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_DIRECT_RESPONSE = "envoy.extensions.filters.network.direct_response.v3.Config"
_UDP_PROXY = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig"
_UDP_ROUTE = "envoy.extensions.filters.udp.udp_proxy.v3.Route"
_SOURCE_IP = "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput"
_SOURCE_PORT = "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput"
_FRACTION = "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction"
_SLOTS = 1_000_000
SESSION_IDLE = "5s"
"""How long a client of UDP may be silent until it begins anew."""
MOST_SESSIONS = 100_000
"""Each takes a connection to its backend; by itself Envoy allows 1,024."""
_TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"

PROBE_HOST = "version.sandbox.canary.invalid"
"""A host that every listener answers with the version of the route table it runs: the data path's own word for it."""
PROBE_SOURCE = "127.255.255.254"
"""Whoever connects from here to a listener of connections is told the version that it runs, and nothing else."""


def file_name(name: str) -> str:
    """A file name for a resource name: readable, and unique although slashes had to go."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.replace('/', '_').replace('*', 'any')[:80]}-{digest}.json"


def source(path: Path) -> Json:
    """A config source that is a file."""
    # Without `watched_directory`, Envoy reloads a file when this very file is replaced by rename; with it, every
    # rename in the folder would reload every file of the folder.
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def bootstrap(folder: Path, responders: Sequence[int] = ()) -> Json:
    """What Envoy starts with. The admin port is the kernel's choice; Envoy writes it to a file.

    `responders` are the ports of those who answer the probes of datagrams, since Envoy itself can answer none.
    """
    return {
        "static_resources": {
            "clusters": [
                {
                    "name": probe_cluster(number),
                    "type": "STATIC",
                    "load_assignment": {
                        name: value
                        for name, value in load_assignment(probe_cluster(number), [("127.0.0.1", port)]).items()
                        if name != "@type"
                    },
                }
                for number, port in enumerate(responders)
            ]
        },
        "node": {"id": "sandbox", "cluster": "sandbox"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {"lds_config": source(folder / "lds.json"), "cds_config": source(folder / "cds.json")},
        # Buckets in milliseconds that are fine where latency checks look.
        "stats_config": {
            "histogram_bucket_settings": [
                {
                    "match": {"prefix": "cluster."},
                    "buckets": [
                        0.5,
                        1,
                        2.5,
                        5,
                        10,
                        25,
                        50,
                        75,
                        100,
                        150,
                        200,
                        250,
                        300,
                        400,
                        500,
                        750,
                        1000,
                        2500,
                        5000,
                    ],
                }
            ]
        },
        # Histograms reach /stats/prometheus only at a flush; the default of 5 s would starve short windows.
        "stats_flush_interval": "1s",
    }


def discovery(version: str, resources: Sequence[Json]) -> Json:
    """A DiscoveryResponse: what a file of file-based xDS contains."""
    return {"version_info": version, "resources": list(resources)}


def listener(name: str, folder: Path, port: int = 0) -> Json:
    """A listener that never changes once it is there: only its route table does, so connections stay. `port` 0: any."""
    return {
        "@type": LISTENER,
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": _HTTP,
                            "stat_prefix": name,
                            "rds": {
                                "route_config_name": name,
                                "config_source": source(folder / "rds" / file_name(name)),
                            },
                            "http_filters": [
                                # A failed call has HTTP status 200: this counts by the gRPC status, per cluster.
                                {"name": "envoy.filters.http.grpc_stats", "typed_config": {"@type": _GRPC_STATS}},
                                {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}},
                            ],
                            "strip_any_host_port": True,
                            "normalize_path": True,
                        },
                    }
                ]
            }
        ],
    }


def stream_listener(name: str, stream: Stream, version: str, port: int = 0) -> Json:
    """A listener of connections. Only its filter chains change, so Envoy leaves connections of before alone.

    `version` is what the probe is told.
    """
    probe = {
        "name": "probe",
        "filter_chain_match": {"source_prefix_ranges": [{"address_prefix": PROBE_SOURCE, "prefix_len": 32}]},
        "filters": [_network_filter(_DIRECT_RESPONSE, {"response": {"inline_string": version}})],
    }
    # Without server names no inspector: it would hold a connection whose server speaks first.
    inspector = {"name": "tls_inspector", "typed_config": {"@type": _TYPE + _TLS_INSPECTOR}}
    return {
        "@type": LISTENER,
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "listener_filters": [inspector] if stream.tls else [],
        "filter_chains": [probe, *(_chain(name, hostname, shares) for hostname, shares in stream.shares)],
    }


def _chain(listener_name: str, hostname: str, shares: Shares) -> Json:
    clusters = [{"name": cluster, "weight": weight} for cluster, weight in shares]
    config = {"stat_prefix": listener_name, "weighted_clusters": {"clusters": clusters}}
    match = {} if hostname == "*" else {"server_names": [hostname]}
    return {"name": hostname, "filter_chain_match": match, "filters": [_network_filter(_TCP_PROXY, config)]}


def datagram_listener(name: str, shares: Shares, probe: int, port: int = 0) -> Json:
    """A listener of datagrams, divided by sessions: all of one address and port go to one backend until none comes for a while.

    With a change of weights Envoy exchanges the whole listener, on the same port, and all sessions begin anew. It divides by what it makes of the client's port (0 to a million). Whoever asks from the probe's address is sent to responder
    `probe`.
    """
    total, sum_ = sum(weight for _, weight in shares), 0
    matchers = [_matcher(_probe_address(), probe_cluster(probe))]
    for cluster, weight in shares[:-1]:
        sum_ += weight
        matchers.append(_matcher(_below(round(_SLOTS * sum_ / total)), cluster))
    last, _ = shares[-1]
    config = {
        "stat_prefix": name,
        "idle_timeout": SESSION_IDLE,
        "matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": {"action": _to(last)}},
    }
    return {
        "@type": LISTENER,
        "name": name,
        "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": port}},
        "udp_listener_config": {"downstream_socket_config": {}},
        "listener_filters": [_network_filter(_UDP_PROXY, config)],
    }


def probe_cluster(number: int) -> str:
    """The name of the cluster of a responder to probes."""
    return f"probe/{number}"


def _matcher(predicate: Json, cluster: str) -> Json:
    return {"predicate": {"single_predicate": predicate}, "on_match": {"action": _to(cluster)}}


def _to(cluster: str) -> Json:
    return _network_filter(_UDP_ROUTE, {"cluster": cluster})


def _probe_address() -> Json:
    return {"input": _network_filter(_SOURCE_IP, {}), "value_match": {"exact": PROBE_SOURCE}}


def _below(slots: int) -> Json:
    share = {"default_value": {"numerator": slots, "denominator": "MILLION"}, "runtime_key": "sandbox.share"}
    return {
        "input": _network_filter(_SOURCE_PORT, {}),
        "custom_match": _network_filter(_FRACTION, {"runtime_fraction": share}),
    }


def _network_filter(kind: str, config: Json) -> Json:
    return {"name": kind, "typed_config": {"@type": _TYPE + kind, **config}}


def route_table(name: str, virtual_hosts: Sequence[Json], version: str) -> Json:
    """The route table of a listener; `version` is what the probe answers."""
    probe = {
        "name": PROBE_HOST,
        "domains": [PROBE_HOST],
        "routes": [
            {
                "match": {"prefix": "/"},
                "direct_response": {"status": 200, "body": {"inline_string": version}},
            }
        ],
    }
    # `validate_clusters` stays off: a share without a cluster is how unresolved backends get their 500s.
    return {"@type": ROUTES, "name": name, "virtual_hosts": [*virtual_hosts, probe]}


def cluster(backend: Backend, folder: Path) -> Json:
    """A cluster whose endpoints come from a file of their own, so that it survives their changes."""
    name = backend.cluster
    body: Json = {
        "@type": CLUSTER,
        "name": name,
        "alt_stat_name": backend.measured_as,
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "eds_cluster_config": {"service_name": name, "eds_config": source(folder / "eds" / file_name(name))},
    }
    if backend.udp:
        body["circuit_breakers"] = {"thresholds": [{"max_connections": MOST_SESSIONS}]}
    if backend.http2:
        options = {"@type": _TYPE + _HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}
        body["typed_extension_protocol_options"] = {_HTTP_OPTIONS: options}
    return body


def load_assignment(name: str, addresses: Iterable[Address]) -> Json:
    """The endpoints of a cluster."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in addresses
    ]
    return {"@type": ENDPOINTS, "cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}] if endpoints else []}


def stat_values(stats: str) -> Mapping[str, str]:
    """The admin's plain text statistics as a mapping, text readouts without their quotes."""
    pairs = (line.split(": ", 1) for line in stats.splitlines() if ": " in line)
    return {name: value.strip().strip('"') for name, value in pairs}
