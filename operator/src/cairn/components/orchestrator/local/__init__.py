"""The orchestrator `local`: the steps of a run one after another in one pod."""
