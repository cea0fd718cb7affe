#!/usr/bin/env bash
# release.sh [NAMESPACE] [DEPLOYMENT]: stop the operator and take its finalizer from every object, so that they can be deleted
# without it. Run this before `kubectl delete -k`; `helm uninstall` does it by itself.
set -euo pipefail
namespace=${1:-cairn-system} deployment=${2:-cairn}

if [ -n "$(kubectl get deployment --namespace "$namespace" "$deployment" --ignore-not-found --output=name)" ]; then
  kubectl scale deployment --namespace "$namespace" "$deployment" --replicas=0
  kubectl wait pod --namespace "$namespace" --selector app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator \
    --for=delete --timeout=60s
fi

# A line for each object that has the finalizer: namespace, name, and the other finalizers, which stay.
# shellcheck disable=SC2016
held='{{range .items}}{{$held := false}}{{$others := ""}}{{range .metadata.finalizers}}
  {{- if eq . "cairn.dev/finalizer"}}{{$held = true}}{{else}}{{$others = printf "%s\"%s\"," $others .}}{{end}}{{end}}
  {{- if $held}}{{printf "%s %s %s\n" .metadata.namespace .metadata.name $others}}{{end}}{{end}}'
for kind in $(kubectl api-resources --api-group=cairn.dev --output=name); do
  kubectl get "$kind" --all-namespaces --output=go-template="$held" | while read -r namespace name others; do
    kubectl patch "$kind" --namespace "$namespace" "$name" --type=merge \
      --patch "{\"metadata\": {\"finalizers\": [${others%,}]}}"
  done
done
