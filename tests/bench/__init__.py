"""What Cairn costs, beside the same work as plain Jobs and pods. Run as `python -m tests.bench`; see README.md."""
