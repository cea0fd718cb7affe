#!/usr/bin/env bash
# download.sh URI [FILE]: copy an artifact out of the demo's bucket with a client that knows nothing of Cairn (curl),
# through a port of this machine. What it prints last is to be the digest that the run's status has.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: download.sh s3://BUCKET/KEY [FILE]" >&2; exit 2; }
uri=$1
file=${2:-${uri##*/}}

main() {
  local line port
  coproc FORWARD { exec kubectl --namespace cairn-demo port-forward service/s3 :7070; }
  # shellcheck disable=SC2064
  trap "kill $FORWARD_PID 2>/dev/null || true" EXIT
  # Forwarding from 127.0.0.1:34567 -> 7070; kubectl has said why, if there is none
  read -r line <&"${FORWARD[0]}" || { echo "download.sh: set KUBECONFIG to the cluster of the demo" >&2; exit 1; }
  port=${line#*127.0.0.1:}
  port=${port%% *}

  curl --fail --silent --show-error --aws-sigv4 aws:amz:us-east-1:s3 --config <(credentials) \
    --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --output "$file" "http://127.0.0.1:$port/${uri#s3://}"
  sha256sum "$file"
}

credentials() {
  printf 'user = "%s:%s"\n' "$(secret AWS_ACCESS_KEY_ID)" "$(secret AWS_SECRET_ACCESS_KEY)"
}

secret() { kubectl --namespace cairn-demo get secret s3-credentials -o "jsonpath={.data.$1}" | base64 -d; }

main
