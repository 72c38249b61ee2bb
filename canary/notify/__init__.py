"""Tells people and other systems what happens to Rollouts: what there is to tell, to whom, once, and never in a tick's way."""
