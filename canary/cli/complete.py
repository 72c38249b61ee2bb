"""Completion of Rollout names in a shell. It may know nothing, but it may never be slow or loud."""

from __future__ import annotations

import os

import typer

SECONDS = 2.0
"""A person pressing Tab waits no longer than this for the cluster."""


def complete_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of Rollouts that begin with what was typed; none when the cluster does not answer in time."""
    import asyncio
    import contextlib

    async def names() -> list[str]:
        from canary.kube import ROLLOUTS, KubeClient

        kubeconfig = ctx.params.get("kubeconfig") or os.environ.get("KUBECONFIG") or None
        async with await KubeClient.connect(
            kubeconfig=kubeconfig, context=ctx.params.get("context"), timeout=SECONDS
        ) as kube:
            # Only the cluster is timed: what this machine takes to load the client is over before it is asked.
            async with asyncio.timeout(SECONDS):
                found = await kube.list(ROLLOUTS, ctx.params.get("namespace") or kube.namespace)
            return [item["metadata"]["name"] for item in found["items"]]

    with contextlib.suppress(Exception):  # whatever goes wrong, a shell waiting for words wants no traceback
        return sorted(name for name in asyncio.run(names()) if name.startswith(incomplete))
    return []
