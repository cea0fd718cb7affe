# Sourced: programs from Go modules.
# shellcheck shell=bash

# One module for all that is made of Kubernetes' packages, so that each of these is compiled once.
PROGRAMS=$HERE/programs

kubernetes_version() { awk '$1 == "k8s.io/kubernetes" {print $2}' "$PROGRAMS/go.mod"; }

# program_key NAME: of what the program is made from
program_key() {
  {
    declare -f build_program
    cat "$PROGRAMS/go.mod"
    [ ! -d "$PROGRAMS/$1" ] || cat "$PROGRAMS/$1"/*
  } | sha256sum | cut -c1-8
}

# build_program PACKAGE FILE, with the tags and flags of all the others, and stamped with the version of Kubernetes:
# kubeadm looks at it, and so does `helm template`.
build_program() {
  local version minor variable stamp="-s -w"
  version=$(kubernetes_version)
  minor=$(cut -d. -f2 <<<"$version")
  for variable in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp+=" -X $variable.gitVersion=$version -X $variable.gitMajor=1 -X $variable.gitMinor=$minor"
    stamp+=" -X $variable.gitTreeState=clean -X $variable.buildDate=2026-01-01T00:00:00Z"
    stamp+=" -X $variable.gitCommit=0000000000000000000000000000000000000000"
  done
  for variable in helm.sh/helm/v3/pkg/{chartutil,lint/rules}.k8sVersion; do
    stamp+=" -X ${variable}Major=1 -X ${variable}Minor=$minor"
  done
  need_go
  cd "$PROGRAMS"
  quick_go build -tags selinux,notest,grpcnotrace -ldflags "$stamp" -o "$2" "$1"
}

# go_install [FLAG...] PACKAGE@VERSION FILE
go_install() {
  local directory
  need_go
  directory=$(new_temporary)
  GOBIN=$directory quick_go install -ldflags "-s -w" "${@:1:$#-1}"
  mv "$directory"/* "${@: -1}"
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
