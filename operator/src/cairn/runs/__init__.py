"""The engine: from a PipelineRun and what is observed of its Jobs and pods to what happens next."""
