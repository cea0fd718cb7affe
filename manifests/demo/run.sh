#!/usr/bin/env bash
# `make demo`: an S3 server, a stack with MLflow, and a run of a pipeline, each shown as it goes. Every call makes another run.
# Takes kubectl and KUBECONFIG from the environment, and DEMO_IMAGE, the image built from image/, from there or
# from .cluster/images.env.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
namespace=cairn-demo

main() {
  local run page
  check_prerequisites

  phase "S3 server in namespace $namespace"
  kubectl apply -f "$here/namespace.yaml"
  make_credentials
  kubectl apply -k "$here/s3" --namespace "$namespace"
  kube rollout status deployment/s3 --timeout=300s || s3_failed

  phase "Stack: an orchestrator, an artifact store, and an MLflow server that the operator installs"
  kubectl apply -f "$here/stack.yaml"
  kube wait stackcomponents --all --for=condition=Ready --timeout=300s || not_ready stackcomponents
  kube wait stack/demo --for=condition=Ready --timeout=60s || not_ready stacks
  kube get stackcomponents,stacks

  run=$(next_run)
  phase "Pipeline: load, train two models at the same time, compare and register the better one, report"
  sed "s|name: breast-cancer-1$|name: $run|; s|image: cairn/demo:dev$|image: $DEMO_IMAGE|" "$here/pipelinerun.yaml" |
    kubectl create -f -
  python3 "$here/show.py" "$namespace" "$run"

  phase "What MLflow has of it, by its REST API"
  kube wait "pipelinerun/$run" --for=condition=Registered --timeout=120s
  kube wait "pipelinerun/$run" --for=jsonpath='{.status.conditions[?(@.type=="Tracked")].reason}'=Recorded --timeout=120s
  python3 "$here/show_mlflow.py" "$namespace" "$run"

  page=$(kube get pipelinerun "$run" \
    -o 'jsonpath={.status.steps[?(@.name=="report")].artifacts[?(@.name=="page")].uri}')
  phase "Try next"
  cat <<TEXT
    export KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
    kubectl get pipelineruns --namespace $namespace
    kubectl describe pipelinerun $run --namespace $namespace
    $here/download.sh $page report.html
    kubectl port-forward --namespace $namespace service/mlflow-server 5000   # and open http://127.0.0.1:5000
TEXT
}

phase() { printf '\n==> %s\n' "$*"; }

kube() { kubectl --namespace "$namespace" "$@"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

check_prerequisites() {
  local images=$here/../../.cluster/images.env
  if [ -z "${DEMO_IMAGE:-}" ] && [ -e "$images" ]; then
    # shellcheck source=/dev/null
    . "$images"
  fi
  [ -n "${DEMO_IMAGE:-}" ] || die "DEMO_IMAGE is not set; run 'make demo', or build $here/image and set it."
  kubectl get --raw /readyz >/dev/null || die "the cluster does not answer; run 'make cluster'."
  kubectl get crd pipelineruns.cairn.dev >/dev/null || die "Cairn is not installed; run 'make install'."
}

# Made once, with random values, and kept: the server and the operator read the same Secret.
make_credentials() {
  if kube get secret s3-credentials >/dev/null 2>&1; then
    echo "secret/s3-credentials kept"
    return
  fi
  kubectl create -f - <<YAML
apiVersion: v1
kind: Secret
metadata: {name: s3-credentials, namespace: $namespace}
stringData:
  AWS_ACCESS_KEY_ID: demo-$(random_hex 6)
  AWS_SECRET_ACCESS_KEY: $(random_hex 24)
YAML
}

random_hex() { python3 -c 'import secrets, sys; print(secrets.token_hex(int(sys.argv[1])))' "$1"; }

# The number after the highest that there is
next_run() {
  local last
  last=$(kube get pipelineruns -o name | sed -n 's|.*/breast-cancer-\([0-9][0-9]*\)$|\1|p' | sort -n | tail -n 1)
  echo "breast-cancer-$((${last:-0} + 1))"
}

s3_failed() {
  kube get pods,pvc -l app.kubernetes.io/name=s3 >&2
  kube get events --field-selector type=Warning >&2
  kube logs deployment/s3 --tail=20 >&2 || true
  die "the S3 server did not start."
}

# not_ready KIND: every object that is not Ready, with the condition's message
not_ready() {
  kube get "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{": "}{range .status.conditions[?(@.type=="Ready")]}{.status}{" "}{.reason}{": "}{.message}{end}{"\n"}{end}' >&2
  die "not all $1 are ready; the operator's log: kubectl logs --namespace cairn-system deployment/cairn"
}

main
