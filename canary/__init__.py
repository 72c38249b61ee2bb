"""Progressive delivery for the Kubernetes Gateway API."""

__version__ = "0.1.0"
