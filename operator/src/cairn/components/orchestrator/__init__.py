"""Flavors of the type `orchestrator`."""
