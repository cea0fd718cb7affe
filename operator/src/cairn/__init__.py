"""Cairn: a Kubernetes operator that makes a machine-learning platform declarative."""

from importlib.metadata import version

__version__ = version("cairn")
