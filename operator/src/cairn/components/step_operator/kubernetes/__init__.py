"""The step operator `kubernetes`: a step's pod with other settings, such as a node with a GPU."""
