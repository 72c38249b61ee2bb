"""What a Rollout's plan would do, before any user sees it: on paper (`plan`), and on what was measured before (`backtest`)."""
