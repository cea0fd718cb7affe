"""Where the cluster's changes come in: kopf handlers and informers that wake reconcilers. Only this package knows kopf."""
