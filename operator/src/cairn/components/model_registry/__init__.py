"""Flavors of the type `modelRegistry`."""
