"""What KFP's drivers decide: the inputs of a task, whether it runs at all, and where its outputs go."""

from __future__ import annotations

from . import expressions
from .cache import Cache, fingerprint
from .expressions import ExpressionError
from .ir import Component, PipelineSpec, PlatformSpec
from .lookup import Lookup, Scope
from .outputs import base_uri, provision
from .resolve import Context, ResolveError, items_of, platform_values, task_inputs, turn_inputs
from .state import Artifact, Decision, Run, Values
from .task_spec import RuntimeValue, Task
from .values import ConversionError, to_text

DRIVER_ERRORS = (ResolveError, ExpressionError, ConversionError, ValueError)
"""What fails a driver."""


class Driver:
    """Decides about the tasks of one run."""

    def __init__(
        self,
        run: Run,
        pipeline: PipelineSpec,
        platform: PlatformSpec,
        lookup: Lookup,
        cache: Cache,
        pipeline_root: str,
    ) -> None:
        self._run = run
        self._pipeline = pipeline
        self._platform = platform
        self._lookup = lookup
        self._cache = cache
        self._root = pipeline_root

    def task(self, scope: Scope, name: str, task: Task) -> Decision:
        """Decide about a task of a DAG."""
        component = self._pipeline.component_of(task)
        context = self._context(scope, name)
        inputs = task_inputs(task, component, context)
        if task.trigger_policy.condition and not expressions.holds(task.trigger_policy.condition, inputs):
            return Decision(inputs=inputs, condition=False)
        return self._body(name, task, component, inputs, context)

    def loop(self, scope: Scope, name: str, task: Task) -> Decision:
        """Decide about a loop: how many turns it has."""
        inputs = task_inputs(task, self._pipeline.component_of(task), self._context(scope, name))
        condition = task.trigger_policy.condition
        if condition and not expressions.holds(condition, inputs):
            return Decision(inputs=inputs, condition=False, iteration_count=0)
        return Decision(inputs=inputs, iteration_count=len(items_of(task, inputs)))

    def turn(self, scope: Scope, name: str, task: Task, inputs: Values, index: int) -> Decision:
        """Decide about one turn of a loop."""
        component = self._pipeline.component_of(task)
        one = turn_inputs(task, component, inputs, index)
        return self._body(name, task, component, one, self._context(scope, name))

    def importer(self, scope: Scope, name: str, task: Task) -> Decision:
        """Decide about an importer, which is over with that."""
        component = self._pipeline.component_of(task)
        importer = self._pipeline.executor_of(component).importer
        assert importer is not None
        inputs = task_inputs(task, component, self._context(scope, name))
        uri = _value(importer.artifact_uri, inputs)
        metadata = {key: _value_of(value, inputs) for key, value in importer.metadata.items()}
        schema = importer.type_schema.schema_title
        outputs = {
            key: [Artifact(name=key, uri=uri, schema_title=schema, metadata=metadata)]
            for key in component.output_definitions.artifacts
        }
        return Decision(inputs=inputs, outputs=Values(artifacts=outputs))

    def _context(self, scope: Scope, name: str) -> Context:
        return Context(
            inputs=scope.inputs,
            parameter=lambda source: self._lookup.parameter(scope, source),
            artifact=lambda source: self._lookup.artifact(scope, source),
            final_status=lambda producer: self._lookup.final_status(scope, producer),
            run_id=self._run.run_id,
            run_name=self._run.display_name,
            workflow=self._run.workflow.name,
            task=name,
            created_at=self._run.created_at,
        )

    def _body(self, name: str, task: Task, component: Component, inputs: Values, context: Context) -> Decision:
        if component.dag is not None:
            return Decision(inputs=inputs)
        container = self._pipeline.executor_of(component).container
        assert container is not None
        pipeline = self._pipeline.pipeline_info.name
        base = base_uri(root=self._root, pipeline=pipeline, run_id=self._run.run_id, task=name)
        decision = Decision(
            inputs=inputs,
            base_uri=base,
            outputs=provision(component, base),
            platform=platform_values(self._platform.of(component), context),
        )
        if task.caching_options.enable_cache:
            key = fingerprint(pipeline=pipeline, task=task, component=component, container=container, inputs=inputs)
            decision.fingerprint = key
            decision.cached = self._cache.outputs.get(key)
        return decision


def _value(source: RuntimeValue, inputs: Values) -> str:
    if source.runtime_parameter is None:
        return to_text(source.constant)
    if source.runtime_parameter not in inputs.parameters:
        raise ResolveError(f"cannot find the importer's input parameter {source.runtime_parameter}")
    return to_text(inputs.parameters[source.runtime_parameter])


def _value_of(value: object, inputs: Values) -> object:
    """Return an item of an importer's metadata, which may be a placeholder for an input parameter."""
    for name, found in inputs.parameters.items():
        if value == f"{{{{$.inputs.parameters['{name}']}}}}":
            return found
    return value
