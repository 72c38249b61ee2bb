"""Numbers from outside: the provider port, who answers which source, Prometheus, and a scripted twin."""
