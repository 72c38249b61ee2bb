"""The read model: what a Rollout document says, as CLI and other front ends show it. Pure: no cluster, no terminal."""
