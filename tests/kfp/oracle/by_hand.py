"""Pipelines as people write them with the SDK; `tests/kfp/test_by_hand.py` has the runs that are to be the same.

Annotations are not put off here: the SDK reads those of components and pipelines.
"""

from kfp import dsl, kubernetes

IMAGE = "ghcr.io/acme/wine:1"


@dsl.container_component
def only() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["train"], args=["--fast"])


# Artifacts: a step writes what another one reads, each in a directory that is there and empty.


@dsl.container_component
def load(data: dsl.Output[dsl.Dataset]) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["load", data.path])


@dsl.container_component
def train(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    scores: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    log: dsl.Output[dsl.Artifact],
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["train", data.path, model.path, scores.path, report.path, log.path])


@dsl.pipeline(name="wine")
def two_steps() -> None:
    data = load().set_caching_options(enable_caching=False)
    kubernetes.empty_dir_mount(data, volume_name="cairn-0", mount_path="/out")
    trained = train(data=data.outputs["data"]).set_caching_options(enable_caching=False)
    kubernetes.empty_dir_mount(trained, volume_name="cairn-0", mount_path="/in")
    kubernetes.empty_dir_mount(trained, volume_name="cairn-1", mount_path="/out")


# Parameters, and a variable of the container.


@dsl.container_component
def with_alpha(alpha: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["train"], args=[f"--alpha={alpha}"])


@dsl.pipeline(name="wine")
def parameters(alpha: str, mode: str) -> None:
    task = with_alpha(alpha=alpha).set_caching_options(enable_caching=False)
    task.set_env_variable("TZ", "Europe/Berlin")


# Results. The SDK takes a field of a STRUCT out of the item of a loop only, so the pipeline has one.


@dsl.container_component
def measure(results: dsl.OutputPath(dict), results_json: dsl.Output[dsl.Artifact]) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["measure", results, results_json.path])


@dsl.container_component
def announce(rows: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["announce"], args=[rows])


@dsl.container_component
def keep(results: dict) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["keep"], args=[results])


@dsl.pipeline(name="wine")
def results() -> None:
    measured = measure().set_caching_options(enable_caching=False)
    keep(results=measured.outputs["results"]).set_caching_options(enable_caching=False)
    with dsl.ParallelFor([{"rows": "7"}]) as item:
        announce(rows=item.rows).set_caching_options(enable_caching=False)


# Conditions.


@dsl.pipeline(name="wine")
def condition(publish: str) -> None:
    with dsl.If(publish == "yes"):
        only().set_caching_options(enable_caching=False)


# What runs however the others have ended.


@dsl.container_component
def tell() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["tell"])


@dsl.pipeline(name="last")
def last(alpha: str, status: dsl.PipelineTaskFinalStatus) -> None:
    tell().set_caching_options(enable_caching=False)


@dsl.pipeline(name="wine")
def exit_handler(alpha: str) -> None:
    at_the_end = last(alpha=alpha).set_caching_options(enable_caching=False)
    with dsl.ExitHandler(at_the_end):
        only().set_caching_options(enable_caching=False)


# What no step of the pipeline writes.


@dsl.container_component
def use(raw: dsl.Input[dsl.Artifact]) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image=IMAGE, command=["use", raw.path])


@dsl.pipeline(name="wine")
def importer(uri: str) -> None:
    raw = dsl.importer(artifact_uri=uri, artifact_class=dsl.Artifact).set_caching_options(enable_caching=False)
    used = use(raw=raw.output).set_caching_options(enable_caching=False)
    kubernetes.empty_dir_mount(used, volume_name="cairn-0", mount_path="/in")


# Settings of a task and of its container.


@dsl.pipeline(name="wine")
def retry() -> None:
    task = only().set_caching_options(enable_caching=False)
    # Argo counts the longest duration from the first attempt, so it is one that is never reached.
    task.set_retry(num_retries=2, backoff_duration="10s", backoff_factor=3.0, backoff_max_duration="31536000s")


@dsl.pipeline(name="wine")
def resources() -> None:
    task = only().set_caching_options(enable_caching=False)
    task.set_cpu_request("500m").set_cpu_limit("2").set_memory_request("512Mi").set_memory_limit("1Gi")
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)


# What its pod has on Kubernetes.


@dsl.pipeline(name="wine")
def environment() -> None:
    task = only().set_caching_options(enable_caching=False)
    kubernetes.use_secret_as_env(task, secret_name="s3", secret_key_to_env={"key": "S3_KEY"})  # noqa: S106 - a name
    kubernetes.use_config_map_as_env(task, config_map_name="settings", config_map_key_to_env={"mode": "MODE"})
    kubernetes.use_field_path_as_env(task, env_name="NODE", field_path="spec.nodeName")


@dsl.pipeline(name="wine")
def volumes() -> None:
    task = only().set_caching_options(enable_caching=False)
    kubernetes.use_secret_as_volume(task, secret_name="certificates", mount_path="/certificates")  # noqa: S106 - a name
    kubernetes.use_config_map_as_volume(task, config_map_name="settings", mount_path="/settings", optional=True)
    kubernetes.mount_pvc(task, pvc_name="datasets", mount_path="/datasets", sub_path="2026")
    kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/scratch", medium="Memory", size_limit="1Gi")
    kubernetes.add_ephemeral_volume(
        task,
        volume_name="big",
        mount_path="/big",
        access_modes=["ReadWriteOnce"],
        size="100Gi",
        storage_class_name="fast",
    )


@dsl.pipeline(name="wine")
def placement() -> None:
    task = only().set_caching_options(enable_caching=False)
    kubernetes.add_node_selector(task, label_key="disk", label_value="ssd")
    kubernetes.add_toleration(task, key="gpu", operator="Exists", effect="NoSchedule")
    kubernetes.add_toleration(
        task, key="spot", operator="Equal", value="yes", effect="NoExecute", toleration_seconds=60
    )
    kubernetes.add_node_affinity(
        task, match_expressions=[{"key": "zone", "operator": "In", "values": ["a", "b"]}], match_fields=[]
    )
    kubernetes.add_node_affinity(
        task,
        match_expressions=[],
        match_fields=[{"key": "metadata.name", "operator": "NotIn", "values": ["old"]}],
        weight=5,
    )


@dsl.pipeline(name="wine")
def pod() -> None:
    task = only().set_caching_options(enable_caching=False)
    kubernetes.add_pod_label(task, label_key="team", label_value="vision")
    kubernetes.add_pod_annotation(task, annotation_key="example.com/note", annotation_value="by hand")
    kubernetes.set_image_pull_secrets(task, ["registry", "mirror"])
    kubernetes.set_image_pull_policy(task, "Always")
    kubernetes.set_timeout(task, seconds=600)
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=2000, run_as_non_root=True)
