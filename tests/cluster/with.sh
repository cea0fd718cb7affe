#!/usr/bin/env bash
# with.sh COMMAND...: run a command with the cluster's KUBECONFIG, Docker and tools.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

file=$STATE/env
[ "${CLUSTER:-}" != current ] || file=$STATE/current.env
[ -e "$file" ] || die "there is no cluster yet; run 'make cluster'."
# shellcheck source=/dev/null
. "$file"
exec "$@"
