"""Which sources are asked over HTTP, each by its API. A new one is a file beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary.checks.sources.cloudwatch import Cloudwatch
from canary.checks.sources.datadog import Datadog
from canary.checks.sources.graphite import Graphite
from canary.checks.sources.influxdb import Influxdb
from canary.checks.sources.web import Web
from canary.metrics.cloudwatch import CloudwatchApi
from canary.metrics.datadog import DatadogApi
from canary.metrics.graphite import GraphiteApi
from canary.metrics.hosts import Hosts
from canary.metrics.http import Api, HttpProvider
from canary.metrics.influxdb import InfluxdbApi
from canary.metrics.secrets import Secrets
from canary.metrics.web import WebApi

APIS: Mapping[type[Any], Api] = {
    Web: WebApi(),
    Datadog: DatadogApi(),
    Influxdb: InfluxdbApi(),
    Graphite: GraphiteApi(),
    Cloudwatch: CloudwatchApi(),
}


def over_http(hosts: Hosts, secrets: Secrets) -> dict[type[Any], HttpProvider]:
    """One provider for all of them, by source: who asks a server in two ways has one queue and one set of connections there."""
    return dict.fromkeys(APIS, HttpProvider(APIS, hosts, secrets=secrets))
