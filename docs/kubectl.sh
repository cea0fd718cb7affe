#!/usr/bin/env bash
# Writes docs/kubectl.md: what kubectl really prints on a cluster after `make demo`.
#   tests/cluster/with.sh docs/kubectl.sh
set -euo pipefail
cd "$(dirname "$0")"
exec >kubectl.md.new
trap 'rm -f kubectl.md.new' EXIT

show() {
  printf '```\n$ %s\n' "$*"
  "$@" | sed 's/[[:space:]]*$//'
  printf '```\n\n'
}

newest=$(kubectl get pipelineruns -n cairn-demo --sort-by .metadata.creationTimestamp -o name | grep /breast-cancer- | tail -1)
newest=${newest#*/}
kubectl delete pipelinerun division -n cairn-demo --ignore-not-found >&2
kubectl apply -n cairn-demo -f - >&2 <<'YAML'
apiVersion: cairn.dev/v1alpha1
kind: PipelineRun
metadata: {name: division}
spec:
  pipeline: arithmetic
  steps:
  - name: count
    image: python:3.11-slim-bookworm
    script: |
      import json, os
      json.dump({"rows": 0}, open(os.environ["CAIRN_RESULTS"], "w"))
    outputs: {results: [rows]}
  - name: mean
    image: python:3.11-slim-bookworm
    command: [python, -c, "import sys; print('dividing by', sys.argv[1]); 12 / int(sys.argv[1])"]
    args: ["$(steps.count.results.rows)"]
  - name: report
    image: python:3.11-slim-bookworm
    command: [python, -c, "print('never')"]
    dependsOn: [mean]
YAML
kubectl wait pipelinerun/division -n cairn-demo --for=condition=Finished --timeout=120s >&2
kubectl apply -n cairn-demo -f ../manifests/samples/pipeline.yaml -f ../manifests/samples/pipeline-schedule.yaml >&2
kubectl patch pipelineschedule greeting-nightly -n cairn-demo --type merge -p '{"spec": {"schedule": "* * * * *"}}' >&2
kubectl wait pipelineschedule/greeting-nightly -n cairn-demo --for=jsonpath='{.status.lastRun.reason}'=Completed --timeout=180s >&2
kubectl patch pipelineschedule greeting-nightly -n cairn-demo --type merge -p '{"spec": {"schedule": "30 2 * * *"}}' >&2
# the API server refuses this one
refused='{"apiVersion": "cairn.dev/v1alpha1", "kind": "StackComponent", "metadata": {"name": "both"},
  "spec": {"artifactStore": {"s3": {"bucket": "b"}}, "orchestrator": {"local": {}}}}'

cat <<'MD'
# What kubectl shows

Printed by a real cluster after `make demo`. [kubectl.sh](kubectl.sh) writes this page.

## get

MD
show kubectl get stackcomponents,stacks,pipelineruns -n cairn-demo
show kubectl get pipelines,pipelineschedules -n cairn-demo
show kubectl get pipelineruns -n cairn-demo -o wide
show kubectl get stackcomponents -n cairn-demo -o wide
show kubectl get jobs -n cairn-demo -l "cairn.dev/run=$newest"
printf '## describe\n\n'
show kubectl describe stack demo -n cairn-demo
printf 'A run that failed says why, with the last lines of the log:\n\n'
show kubectl describe pipelinerun division -n cairn-demo
printf 'A schedule, of which one run was made:\n\n'
show kubectl describe pipelineschedule greeting-nightly -n cairn-demo
printf '## explain\n\n'
show kubectl explain pipelinerun
show kubectl explain pipelinerun.spec.steps
show kubectl explain pipelinerun.spec.steps.outputs
show kubectl explain pipeline.spec
show kubectl explain pipelineschedule.spec
show kubectl explain stack.spec
show kubectl explain stackcomponent.spec --recursive
cat <<'MD'
## What the API server refuses

A manifest that cannot be right is refused when it is applied, with the field and the remedy:

MD
printf '```\n$ kubectl apply -f both.yaml\n'
kubectl apply --dry-run=server -f - <<<"$refused" 2>&1 || true
printf '```\n'
kubectl delete pipelinerun/division pipelineschedule/greeting-nightly pipeline/greeting -n cairn-demo >&2
mv kubectl.md.new kubectl.md
