"""The API `cairn.dev/v1alpha1`: the kinds as pydantic models, and the CRDs made from them."""
