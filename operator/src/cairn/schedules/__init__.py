"""The kind PipelineSchedule: starts runs of Pipelines at given times."""
