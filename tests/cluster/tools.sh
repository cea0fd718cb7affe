# Sourced: kind, kubectl and helm, from the PATH when they are new enough, else made once and kept in the cache.
# shellcheck shell=bash

. "$HERE/go.sh"

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
version_of_promtool() { promtool --version | awk 'NR == 1 {print $3}'; }
version_of_kubectl() { kubectl version --client | sed -n 's/^Client Version: //p'; }

make_kind() {
  local directory=$TOOLS/kind-$KIND_VERSION
  step_once "build kind $KIND_VERSION" "$directory/kind" go_install "sigs.k8s.io/kind@$KIND_VERSION"
  add_to_path "$directory"
}

make_helm() {
  local directory
  directory=$TOOLS/helm-$(program_key helm)
  step_once "build helm" "$directory/helm" build_program helm.sh/helm/v3/cmd/helm
  add_to_path "$directory"
}

# What plays the kubelets of nodes that are not there
make_kwok() {
  local directory=$TOOLS/kwok-$KWOK_VERSION
  step_once "build kwok $KWOK_VERSION" "$directory/kwok" go_install "sigs.k8s.io/kwok/cmd/kwok@$KWOK_VERSION"
  add_to_path "$directory"
}

# What tests alerts and the dashboard. Where it has to be compiled, that takes several minutes.
make_promtool() {
  local directory=$TOOLS/promtool-debian
  if command -v apt-get >/dev/null; then
    step_once "fetch promtool" "$directory/promtool" copy_out_of_package prometheus usr/bin/promtool
  else
    directory=$TOOLS/promtool-$PROMTOOL_VERSION
    step_once "build promtool $PROMTOOL_VERSION" "$directory/promtool" go_install -tags remove_all_sd \
      "github.com/prometheus/prometheus/cmd/promtool@$PROMTOOL_VERSION"
  fi
  add_to_path "$directory"
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

# copy_out_of_package PACKAGE PATH FILE: one file of a Debian package, which is not installed: it would start its service
copy_out_of_package() {
  cd "$(new_temporary)"
  [ "$(id -u)" != 0 ] || apt-get update -q 9>&-
  apt-get download -q "$1"
  dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xO "./$2" >"$3"
  chmod +x "$3"
}
