"""Tests. `unit` needs nothing but Python; `crd` and `e2e` need a cluster."""
