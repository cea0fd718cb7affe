#!/usr/bin/env bash
# `make cluster-down`: this checkout's cluster and .cluster/ go; so does the cache's dockerd if no other checkout uses it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/docker.sh"

main() {
  [ "${CLUSTER:-}" != current ] || die "CLUSTER=current is not ours to take down."
  exclusively
  if own_docker_runs || own_docker_left_traces || docker info >/dev/null 2>&1; then
    use_docker
    delete_nodes
    if own_docker_runs; then stop_own_docker_if_idle; fi
  fi
  rm -rf "$STATE"
  say "Cluster $CLUSTER_NAME is gone."
}

# As `kind delete cluster` does it, without needing kind; with this cluster go those besides it.
delete_nodes() {
  docker ps -a --filter label=io.x-k8s.kind.cluster --format '{{.ID}} {{.Label "io.x-k8s.kind.cluster"}}' |
    awk -v name="$CLUSTER_NAME" '$2 == name || index($2, name "-") == 1 {print $1}' | xargs -r docker rm -fv >/dev/null
}

main
