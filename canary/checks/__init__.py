"""What a check computes from what was measured: CEL conditions, bounded in what they may cost."""
