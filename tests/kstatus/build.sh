#!/usr/bin/env bash
# build.sh: print the path of the program of this directory, which is built where it is not there yet.
# It shares what is compiled of Kubernetes' packages with the programs of tests/cluster.
. "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib.sh"
. "$HERE/go.sh"

SOURCES=$CHECKOUT/tests/kstatus

build() {
  need_go
  cd "$SOURCES"
  quick_go build -ldflags "-s -w" -o "$1" .
}

key=$(cat "$SOURCES"/{go.mod,main.go} | sha256sum | cut -c1-8)
program=$CACHE/tools/kstatus-$key/kstatus
step_once "build kstatus" "$program" build
printf '%s\n' "$program"
