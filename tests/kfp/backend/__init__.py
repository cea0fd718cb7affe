"""A server with the REST surface of Kubeflow Pipelines 2.17 (v2beta1) that executes what is submitted. No code is Cairn's."""
