"""Flavors of the type `stepOperator`."""
