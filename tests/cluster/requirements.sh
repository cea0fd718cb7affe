#!/usr/bin/env bash
# `make requirements`: what the machine must have, said at once; uv is made if it is missing.
# Docker, kind, kubectl and helm are seen to by up.sh, when a cluster is asked for.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local program missing=()
  for program in git make python3 flock sha256sum setsid; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} = 0 ] || die "this machine lacks ${missing[*]}; install them and run again."
  [ "${BASH_VERSINFO[0]}" -ge 4 ] || die "bash 4 or newer is needed; this is $BASH_VERSION."
  python3 -c "import sys; sys.exit(sys.version_info < (${PYTHON_MINIMUM/./, }))" ||
    die "Python $PYTHON_MINIMUM or newer is needed; $(command -v python3) is $(python3 -V)."
  command -v uv >/dev/null || provide_uv
}

# Where the Makefile's PATH ends
provide_uv() {
  exclusively
  step "install uv $UV_VERSION" once "$CACHE/tools/uv-$UV_VERSION/uv" install_uv
}

install_uv() {
  local directory
  directory=$(new_temporary)
  python3 -m venv "$directory"
  "$directory/bin/pip" install "uv==$UV_VERSION"
  mv "$directory/bin/uv" "$1"
}

main
