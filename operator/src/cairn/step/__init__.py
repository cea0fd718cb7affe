"""What runs inside a step's pod around the user's container: `fetch` before it, `publish` after it.

Nothing of the operator is imported here, so that the two containers start fast and stay small.
"""
