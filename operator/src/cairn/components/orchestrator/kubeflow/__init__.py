"""The orchestrator `kubeflow`."""
