# Sourced: kind, kubectl and helm, from the PATH when they are new enough, else made once and kept in the cache.
# shellcheck shell=bash

TOOLS=$CACHE/tools
TOOL_PATH=  # of the tools that were made

# use_tool NAME: put a good enough NAME on the PATH
use_tool() {
  local minimum="${1^^}_MINIMUM" have
  have=$("version_of_$1" 2>/dev/null || true)
  if [ -n "$have" ] && at_least "${have#v}" "${!minimum}"; then return 0; fi
  "make_$1"
}

version_of_kind() { kind version -q; }
version_of_helm() { helm version --template '{{.Version}}'; }
version_of_kubectl() { kubectl version --client | sed -n 's/^Client Version: //p'; }

make_kind() { go_tool kind "$KIND_VERSION" sigs.k8s.io/kind; }

# Helm is told the Kubernetes version that `helm template` assumes; unstamped it says 1.20.
make_helm() {
  local part flags=
  for part in chartutil lint/rules; do
    flags+=" -X helm.sh/helm/v3/pkg/$part.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$part.k8sVersionMinor=34"
  done
  go_tool helm "$HELM_VERSION" helm.sh/helm/v3/cmd/helm "$flags"
}

# The node image has a kubectl of the cluster's own version.
make_kubectl() {
  local directory=$TOOLS/kubectl-${NODE_IMAGE##*:}
  once "$directory/kubectl" copy_out_of_image "$NODE_IMAGE" /usr/bin/kubectl
  add_to_path "$directory"
}

add_to_path() {
  TOOL_PATH+=$1:
  PATH=$1:$PATH
}

copy_out_of_image() {
  local container
  container=$(docker create "$1" true)
  docker cp -q "$container:$2" "$3" 2>/dev/null || docker cp "$container:$2" "$3" >/dev/null
  docker rm "$container" >/dev/null
}

# go_tool NAME VERSION PACKAGE [LDFLAGS]: a program of a Go module, put on the PATH
go_tool() {
  local directory=$TOOLS/$1-$2
  if [ ! -e "$directory/$1" ]; then
    need_go
    step "build $1 $2" once "$directory/$1" go_install "$3@$2" "${4:-}"
  fi
  add_to_path "$directory"
}

go_install() {
  local directory
  directory=$(new_temporary)
  GOBIN=$directory quick_go install -ldflags "-s -w $2" "$1"
  mv "$directory"/* "$3"
}

# quick_go COMMAND...: `go` with a third less work for the compiler, which is what a first `make` on two cores waits for:
# no debugging information, which nobody reads here, and less garbage collection where there is memory for that.
quick_go() {
  local garbage=100
  [ "$(awk '$1 == "MemTotal:" {print $2}' /proc/meminfo)" -lt 12000000 ] || garbage=800
  CGO_ENABLED=0 GOGC=$garbage GOFLAGS='-trimpath -gcflags=all=-dwarf=false' go "$@"
}

need_go() {
  local have
  have=$(go env GOVERSION 2>/dev/null | tr -d go) || true
  if [ -z "$have" ] || ! at_least "$have" "$GO_MINIMUM"; then
    die "Go $GO_MINIMUM or newer is needed to build what this machine lacks (found: ${have:-none}); install it and run again."
  fi
}
