#!/usr/bin/env bash
# `make cluster`: a kind cluster of this checkout, and how to reach it in .cluster/env.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/docker.sh"
. "$HERE/tools.sh"
. "$HERE/node-image.sh"

main() {
  if [ "${CLUSTER:-}" = current ]; then
    use_current_cluster
  else
    use_kind_cluster
  fi
}

# The cluster that KUBECONFIG names: nothing is made but a way to reach it, and Docker to build images with.
use_current_cluster() {
  [ -n "${KUBECONFIG:-}" ] || die "CLUSTER=current means the cluster that KUBECONFIG names, but KUBECONFIG is not set."
  exclusively
  use_docker
  use_tool helm
  command -v kubectl >/dev/null || die "CLUSTER=current needs kubectl; install it and run again."
  kubectl version >/dev/null || die "the cluster of KUBECONFIG=$KUBECONFIG does not answer."
  CLUSTER_NAME=$(kubectl config current-context)
  case $CLUSTER_NAME in kind-*) use_tool kind ;; esac  # to load images into its nodes
  CLUSTER_NAME=${CLUSTER_NAME#kind-}
  mkdir -p "$STATE"
  write_env "$STATE/current.env"
  say "Using the current cluster, $CLUSTER_NAME."
}

use_kind_cluster() {
  local start=$SECONDS
  exclusively
  export KUBECONFIG=$STATE/kubeconfig
  use_docker
  find_node_image
  use_tool kind
  use_tool kubectl
  use_tool helm
  case $VARIANT in "" | real | argocd) ;; *) make_kwok ;; esac
  if cluster_is_whole; then
    say "Cluster $CLUSTER_NAME is up."
  else
    create_cluster
    say "Cluster $CLUSTER_NAME is up after $((SECONDS - start)) s."
  fi
  write_env "$STATE/env"
  say "Use it by \`${VARIANT:+CLUSTER_VARIANT=$VARIANT }tests/cluster/with.sh COMMAND\`, or with KUBECONFIG=$KUBECONFIG."
}

# Nodes that were stopped, by a test or by a reboot, are started. What does not get Ready after that is made anew.
cluster_is_whole() {
  local nodes
  nodes=$(kind get nodes --name "$CLUSTER_NAME" 2>/dev/null)
  [ -e "$STATE/created" ] && [ "$(wc -w <<<"$nodes")" = "$(node_count)" ] || return 1
  # shellcheck disable=SC2086
  docker start $nodes >/dev/null && kind export kubeconfig --name "$CLUSTER_NAME" -q || return 1
  await 30 kubectl get node || return 1
  nodes_are_ready
}

nodes_are_ready() {
  kubectl wait node -l '!cairn.dev/fake' --for=condition=Ready --timeout=90s &&
    [ "$(kubectl get node -l '!cairn.dev/fake' -o name | wc -l)" = "$(node_count)" ]
} >/dev/null

node_count() { grep -c -e '- role:' "$KIND_CONFIG"; }

create_cluster() {
  kind delete cluster --name "$CLUSTER_NAME" -q
  rm -rf "$STATE/audit" "$STATE/created"
  mkdir -p "$STATE/audit"
  cp "$AUDIT_POLICY" "$STATE/audit/policy.yaml"
  touch "$STATE/audit/audit.log"  # the API server, root in its container, keeps the owner and mode that it finds
  kind_config >"$STATE/kind.yaml"
  step "create cluster $CLUSTER_NAME" kind create cluster --name "$CLUSTER_NAME" --image "$NODE_IMAGE" \
    --config "$STATE/kind.yaml" --wait 180s
  step "wait for its nodes" nodes_are_ready
  touch "$STATE/created"
}

kind_config() {
  sed "s|@STATE@|$STATE|" "$KIND_CONFIG"
  if ! has_sys_resource; then  # a process may then not lower its own OOM score
    cat <<'YAML'
containerdConfigPatches:
  - |
    [plugins."io.containerd.grpc.v1.cri"]
      restrict_oom_score_adj = true
YAML
  fi
}

# How recipes and people reach the cluster; with.sh reads it.
write_env() {
  {
    # shellcheck disable=SC2016
    printf 'export PATH=%q"$PATH" KUBECONFIG=%q\n' "$TOOL_PATH" "$KUBECONFIG"
    printf 'export KIND_CLUSTER_NAME=%q\n' "$CLUSTER_NAME"  # kind looks at it
    [ -z "${DOCKER_HOST:-}" ] || printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST"
    [ -z "${DOCKER_BUILDKIT:-}" ] || printf 'export DOCKER_BUILDKIT=%q\n' "$DOCKER_BUILDKIT"
  } >"$1.new"
  mv "$1.new" "$1"
}

main
