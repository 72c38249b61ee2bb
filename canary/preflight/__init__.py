"""Whether a run could work, asked of what stands around a Rollout's routes: once, for controller, `lint --live` and `doctor`; and of what a route names itself, for `lint --routes`."""
