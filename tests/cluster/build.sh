# Sourced: how an image is built, and what its labels say.
# shellcheck shell=bash

# build REFERENCE DOCKERFILE CONTEXT [OPTION...]. A Dockerfile gets those of the settings that it declares; what the machine needs
# to reach package indexes goes into the build if it is set, and only then.
build() {
  local reference=$1 dockerfile=$CHECKOUT/$2 context=$CHECKOUT/$3 setting arguments=()
  shift 3
  describe_source "$dockerfile"
  for setting in UV_VERSION PYTHON_IMAGE HELM_IMAGE MLFLOW_IMAGE VERSION REVISION CREATED SOURCE; do
    ! grep -q "^ARG $setting" "$dockerfile" || arguments+=(--build-arg "$setting=${!setting}")
  done
  for setting in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy \
    PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_DEFAULT_INDEX UV_INDEX_URL; do
    [ -z "${!setting:-}" ] || arguments+=(--build-arg "$setting")
  done
  docker build --tag "$reference" "$@" "${arguments[@]}" --file "$dockerfile" "$context"
}

# describe_source DOCKERFILE: what the labels org.opencontainers.image.* tell. The time is the commit's, so that one commit makes the
# same labels whenever it is built.
describe_source() {
  case $1 in
  "$CHECKOUT"/charts/mlflow/*) VERSION=$(mlflow_version) ;;
  *) VERSION=$(cairn_version) ;;
  esac
  REVISION=$(git -C "$CHECKOUT" rev-parse HEAD 2>/dev/null || echo unknown)
  CREATED=$(git -C "$CHECKOUT" log -1 --format=%cI 2>/dev/null || echo unknown)
  SOURCE=${SOURCE_URL:-$(public_remote || echo unknown)}
}

# Where others can read the source, without the log-in that a URL may have
public_remote() { git -C "$CHECKOUT" remote get-url origin 2>/dev/null | sed -nE 's#^https://([^/@]*@)?#https://#p' | grep .; }

cairn_version() { sed -n 's/^appVersion: //p' "$CHECKOUT/charts/cairn/Chart.yaml"; }
mlflow_version() { sed -n 's/^appVersion: //p' "$CHECKOUT/charts/mlflow/Chart.yaml"; }
