#!/usr/bin/env bash
# `make package`: what a release consists of, in dist/. `make publish`: the same, with its images and charts in REGISTRY.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/docker.sh"
. "$HERE/tools.sh"
. "$HERE/base-images.sh"
. "$HERE/build.sh"

main() {
  local prefix=${REGISTRY:+$REGISTRY/} operator mlflow
  exclusively
  use_docker
  use_tool helm
  base_image "$PYTHON_IMAGE" make_python
  base_image "$HELM_IMAGE" make_helm_image
  operator=${prefix}cairn/operator:$(cairn_version)
  mlflow=${prefix}cairn/mlflow:$(mlflow_version)
  step "build $operator" build "$operator" operator/Dockerfile .
  step "build $mlflow" build "$mlflow" charts/mlflow/image/Dockerfile charts/mlflow/image
  if [ -n "${REGISTRY:-}" ]; then push_images "$operator" "$mlflow"; fi
  cd "$CHECKOUT"
  SOURCE_URL=${SOURCE_URL:-$(public_remote || true)} uv run --locked python -m charts.release \
    --operator-image "$operator" --mlflow-image "$mlflow" --base-image "$PYTHON_IMAGE" --base-image "$HELM_IMAGE" \
    --registry "${REGISTRY:-}"
  if [ -n "${REGISTRY:-}" ]; then push_charts; fi
}

push_images() {
  local image
  for image in "$@"; do step "push $image" docker push "$image"; done
}

# HELM_PUSH_ARGS: --plain-http for a registry without TLS, for example
push_charts() {
  local chart
  for chart in dist/*.tgz; do
    # shellcheck disable=SC2086
    helm push "$chart" "oci://$REGISTRY/charts" ${HELM_PUSH_ARGS:-}
  done
}

main
