"""Which components do not fit together, whatever each of them is by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cairn.components.base import ArtifactStore, ExperimentTracker, ModelRegistry, Orchestrator
from cairn.components.registry import AnyFlavor


def incompatibilities(components: Sequence[AnyFlavor]) -> Iterator[str]:
    """Yield a sentence, with the next action, for each pair that cannot work together."""
    orchestrators = [component for component in components if isinstance(component, Orchestrator)]
    stores = [component for component in components if isinstance(component, ArtifactStore)]
    for orchestrator in orchestrators:
        for store in stores:
            problem = orchestrator.incompatibility_with(store)
            if problem is not None:
                yield problem
    tracker = next((component.name for component in components if isinstance(component, ExperimentTracker)), None)
    for registry in components:
        if isinstance(registry, ModelRegistry) and registry.tracker != tracker:
            yield (
                f"model registry {registry.name} links versions to the records of experiment tracker {registry.tracker}; name that "
                f"one in experimentTrackerRef"
            )
