"""What results call the clusters and the ways to do work."""

REAL, DEFAULTS, RAISED = "real", "defaults", "raised"
"""Clusters, each described by the file of that name in `clusters`."""
PLAIN_JOBS, BARE_PODS = "plain Jobs", "bare pods"
CAIRN_JOBS, CAIRN_PODS = "Cairn, Jobs", "Cairn, pods"
UNTRACKED, TRACKED = "no tracker", "MLflow records"
KUBEFLOW, KUBEFLOW_QUICK = "Cairn, Kubeflow", "Cairn, Kubeflow that looks every second"
"""Kubeflow Pipelines looks at each workflow every ten seconds, as it is installed, or more often than anybody has it."""
