"""Tests of the Kubeflow Pipelines backend in `backend`, and what was recorded of a real one."""
