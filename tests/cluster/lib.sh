# Sourced by the scripts beside it: where things are, how to speak, how to make a thing once.
# shellcheck shell=bash disable=SC2034  # most of what is set here is read by those scripts
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
CHECKOUT=$(cd "$HERE/../.." && pwd -P)
# CLUSTER_VARIANT names a cluster besides the one that tests and the demo run on; tests/*/clusters says what each is like.
VARIANT=${CLUSTER_VARIANT:-}
STATE=$CHECKOUT/.cluster${VARIANT:+/$VARIANT}        # of this checkout; gone after `make cluster-down`
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/cairn          # of this user; kept
CLUSTER_NAME=cairn-$(printf %s "$CHECKOUT" | sha256sum | cut -c1-8)${VARIANT:+-$VARIANT}
KIND_CONFIG=$HERE/kind.yaml
AUDIT_POLICY=$HERE/audit-policy.yaml
if [ -n "$VARIANT" ]; then
  KIND_CONFIG=$(echo "$CHECKOUT"/tests/*/clusters/"$VARIANT.yaml")
  AUDIT_POLICY=$CHECKOUT/tests/bench/clusters/audit-policy.yaml
fi
# shellcheck source=tests/cluster/versions.env
. "$HERE/versions.env"

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# step TEXT COMMAND...: run a command with its output in a log, and show only that it runs and how long it took.
# A failure shows the end of the log and ends the script.
step() {
  local text=$1 log start=$SECONDS status
  shift
  mkdir -p "$CACHE/log"
  log=$CACHE/log/${text//[^a-zA-Z0-9.]/-}.log
  printf '  %s ... ' "$text" >&2
  set +e
  (set -e; "$@") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ $status != 0 ]; then
    printf 'failed\n' >&2
    tail -n 30 "$log" >&2
    die "$text failed; the whole log is $log"
  fi
  printf '%d s\n' $((SECONDS - start)) >&2
}

# once FILE COMMAND...: make FILE unless it is there. COMMAND gets a temporary name as its last argument, which becomes
# FILE only when all of it is written, so that a crash leaves nothing half made.
once() {
  local file=$1 partial
  shift
  [ ! -e "$file" ] || return 0
  partial=$(new_temporary)/$(basename "$file")
  "$@" "$partial"
  mkdir -p "$(dirname "$file")"
  mv "$partial" "$file"
}

# step_once TEXT FILE COMMAND...: both; nothing is shown where FILE is there
step_once() { [ -e "$2" ] || step "$1" once "${@:2}"; }

# A new directory on the cache's file system. `exclusively` clears what a crash left.
new_temporary() {
  mkdir -p "$CACHE/tmp"
  mktemp -d "$CACHE/tmp/XXXXXX"
}

# One script at a time works on what checkouts share: the cache and the cache's dockerd.
# The lock is file descriptor 9; the kernel frees it when the last process that holds it ends.
exclusively() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  if ! flock -n 9; then
    say "Another make is using $CACHE; waiting for it."
    flock 9
  fi
  rm -rf "$CACHE/tmp"
}

# await SECONDS COMMAND...: until COMMAND succeeds; false when it has not in that time
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
}

# at_least HAVE MINIMUM: compare versions
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# need_packages NAME...: Debian packages, installed if they are missing and this user may
need_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "this machine needs Debian's packages ${missing[*]}; install them (as root: apt-get install ${missing[*]}) and run again."
  fi
  step "apt-get install ${missing[*]}" install_packages "${missing[@]}"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q 9>&-  # a service that a package starts must not inherit the lock
  apt-get install -yq --no-install-recommends --no-upgrade "$@" 9>&-
}

image_present() { docker image inspect "$1" >/dev/null 2>&1; }

image_archive() { printf '%s/images/%s.tar' "$CACHE" "${1//[^a-zA-Z0-9.]/-}"; }

# keep_image REFERENCE ARCHIVE: have an image both in Docker and in the cache, which outlives Docker's data
keep_image() {
  step_once "save $1" "$2" save_image "$1"
  image_present "$1" || step "load $1" docker load -i "$2"
}

save_image() { docker save -o "$2" "$1"; }
