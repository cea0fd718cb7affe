"""The steps of the demo's pipeline. Each module is one step: `python -m demo.load --help`."""
