#!/usr/bin/env bash
# `make install`: the operator from this checkout's chart and image, in a namespace that allows restricted pods only.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=/dev/null
. "$STATE/images.env"

kubectl create namespace cairn-system --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl label --overwrite namespace cairn-system pod-security.kubernetes.io/enforce=restricted >/dev/null
helm upgrade --install cairn "$CHECKOUT/charts/cairn" --namespace cairn-system --wait --timeout 180s \
  --set "image.repository=${OPERATOR_IMAGE%:*}" --set "image.tag=${OPERATOR_IMAGE##*:}" \
  --set "mlflow.image=$MLFLOW_IMAGE" "$@"
