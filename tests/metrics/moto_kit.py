"""moto, which answers as Amazon's services do, and checks who asks: its signatures by botocore, its rights by its own IAM."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from canary.metrics.credentials import KeyPair
from canary.metrics.signing import Scope, signature
from canary_sandbox.process import ManagedProcess, free_port

PYTHON = Path(__file__).parents[2] / ".sandbox/moto/bin/python"
REGION = "eu-west-1"
_FORM, _JSON = "application/x-www-form-urlencoded", "application/x-amz-json-1.0"
_OPEN = 6
"""Requests before it asks who somebody is: what makes two users, and the numbers."""
_ALLOWED = {"Effect": "Allow", "Action": ["cloudwatch:GetMetricData", "monitoring:GetMetricData"], "Resource": "*"}


class Moto:
    """Its address, the keys of somebody who may read metrics, and of somebody who may do nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reader = self.stranger = KeyPair("", "")


@asynccontextmanager
async def moto(namespace: str, *data: Mapping[str, Any]) -> AsyncIterator[Moto]:
    """One that knows these MetricData."""
    assert PYTHON.exists(), "moto is missing: type .venv/bin/python scripts/apart.py moto"
    with tempfile.TemporaryDirectory(prefix="canary-moto-") as name:
        port = free_port()
        made = Moto(f"http://127.0.0.1:{port}")
        command = [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        env = {"INITIAL_NO_AUTH_ACTION_COUNT": str(_OPEN)}
        async with (
            ManagedProcess(command, log=Path(name) / "log", name="moto", env=env) as process,
            httpx.AsyncClient(base_url=made.url, trust_env=False) as http,
        ):
            await process.wait_until(lambda: _up(http), within=60)
            made.reader, made.stranger = [await _user(http, name) for name in ("reader", "stranger")]
            document = json.dumps({"Version": "2012-10-17", "Statement": [_ALLOWED]})
            policy = {"UserName": "reader", "PolicyName": "metrics", "PolicyDocument": document}
            await _iam(http, "PutUserPolicy", **policy)
            numbers = json.dumps({"Namespace": namespace, "MetricData": data}).encode()
            target = {"X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData"}
            await _call(http, Scope(REGION, "monitoring"), {"Content-Type": _JSON, **target}, numbers)
            yield made


async def _user(http: httpx.AsyncClient, name: str) -> KeyPair:
    await _iam(http, "CreateUser", UserName=name)
    said = await _iam(http, "CreateAccessKey", UserName=name)
    identity, secret = (re.search(f"<{tag}>(.*?)<", said) for tag in ("AccessKeyId", "SecretAccessKey"))
    assert identity is not None
    assert secret is not None
    return KeyPair(identity[1], secret[1])


async def _iam(http: httpx.AsyncClient, action: str, **fields: str) -> str:
    content = urlencode({"Action": action, "Version": "2010-05-08", **fields}).encode()
    return await _call(http, Scope("us-east-1", "iam"), {"Content-Type": _FORM}, content)


async def _call(http: httpx.AsyncClient, scope: Scope, headers: dict[str, str], content: bytes) -> str:
    """As nobody in particular: it is not asked yet who that is, and finds the service by the signature."""
    nobody, now = KeyPair("AKIDEXAMPLE", "x"), datetime.now(UTC)
    signed = headers | signature("POST", http.base_url, headers, content, nobody, scope, now)
    answer = await http.post("/", headers=signed, content=content)
    assert answer.is_success, answer.text
    return answer.text


async def _up(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/moto-api/")).is_success
    except httpx.HTTPError:
        return False
