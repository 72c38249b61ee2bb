"""Numbers from outside: the provider port, Prometheus, a scripted twin, and the rendering of query templates."""
