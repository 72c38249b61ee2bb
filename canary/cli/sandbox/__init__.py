"""`canary sandbox`: one file per verb, and what they have in common."""
