"""Cairn: a Kubernetes operator that makes a machine-learning platform declarative."""


def __getattr__(name: str) -> str:
    """Return `__version__`, read only when asked for: what runs in a step's pod has to start fast."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - see above

        return version("cairn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
