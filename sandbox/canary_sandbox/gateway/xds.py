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


def bootstrap(folder: Path) -> Json:
    """What Envoy starts with. The admin port is the kernel's choice; Envoy writes it to a file."""
    return {
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
