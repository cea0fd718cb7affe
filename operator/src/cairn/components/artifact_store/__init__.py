"""Flavors of the type `artifactStore`."""
