"""The kind Pipeline: whether it is valid, and the runs that its changes start."""
