#!/usr/bin/env bash
# `make clean-cache`: everything in the cache goes. The next `make cluster` starts from nothing.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/docker.sh"

[ -d "$CACHE" ] || exit 0
exclusively
if own_docker_runs || own_docker_left_traces; then
  die "the dockerd in $OWN is in use; run 'make cluster-down' in every checkout that has a cluster, then again."
fi
rm -rf --one-file-system "$CACHE"
