"""The orchestrator `kubernetes`: one Job, or one pod without a Job, per step attempt."""
