#!/usr/bin/env bash
# `make images`: build what changed, put it where the cluster's nodes find it, write the references to .cluster/images.env.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/tools.sh"
. "$HERE/base-images.sh"
. "$HERE/argocd.sh"
. "$HERE/build.sh"

MISSING=()  # what the cluster has yet to be given

main() {
  exclusively
  base_image "$PYTHON_IMAGE" make_python
  base_image "$HELM_IMAGE" make_helm_image
  base_image "$S3_IMAGE" make_s3
  base_image "$POSTGRES_IMAGE" make_postgres
  [ -z "${ALL_IMAGES:-}" ] || base_image "$REGISTRY_IMAGE" make_registry
  mkdir -p "$STATE"
  : >"$STATE/images.env.new"
  # Variable, name, Dockerfile, context, inputs. What the context of the operator's image lets in is in .dockerignore.
  # shellcheck disable=SC2046
  image OPERATOR_IMAGE cairn/operator operator/Dockerfile . .dockerignore $(sed -n 's/^!//p' "$CHECKOUT/.dockerignore")
  image MLFLOW_IMAGE cairn/mlflow charts/mlflow/image/Dockerfile charts/mlflow/image charts/mlflow/image
  # Those whose names say so are for `make test-full`, which alone upgrades from them. The next two are built on the one just published.
  [ -z "${ALL_IMAGES:-}" ] || previous_operator
  [ -z "${ALL_IMAGES:-}" ] || image MLFLOW_PREVIOUS_IMAGE cairn/mlflow-previous tests/cluster/mlflow-previous/Dockerfile \
    tests/cluster/mlflow-previous tests/cluster/mlflow-previous charts/mlflow/image
  image DEMO_IMAGE cairn/demo manifests/demo/image/Dockerfile manifests/demo/image manifests/demo/image charts/mlflow/image
  published S3_IMAGE "$S3_IMAGE"
  published POSTGRES_IMAGE "$POSTGRES_IMAGE"
  published STEP_IMAGE "$PYTHON_IMAGE"
  [ -z "${ALL_IMAGES:-}" ] || published REGISTRY_IMAGE "$REGISTRY_IMAGE"
  [ "$VARIANT" != argocd ] || argocd
  [ ${#MISSING[@]} = 0 ] || deliver "${MISSING[@]}"
  mv "$STATE/images.env.new" "$STATE/images.env"
}

# What `make test-argocd` needs besides; its program is used on this machine, too.
argocd() {
  have_argocd
  once "$STATE/argocd" copy_out_of_image "$ARGOCD_IMAGE" /usr/local/bin/argocd
  cp "$ARGOCD_MANIFESTS" "$STATE/core-install.yaml"
  published ARGOCD_IMAGE "$ARGOCD_IMAGE"
  published REDIS_IMAGE "$REDIS_IMAGE"
}

# image VARIABLE NAME DOCKERFILE CONTEXT INPUT...: the tag is a hash of the inputs, so an image that is there is up to date
image() {
  local variable=$1 name=$2 dockerfile=$3 context=$4 reference
  shift 4
  [ -e "$CHECKOUT/$dockerfile" ] || die "$dockerfile is missing, so $name cannot be built."
  reference=${IMAGE_REGISTRY:+$IMAGE_REGISTRY/}$name:$(hash_of_inputs "$dockerfile" "$@")
  if ! is_delivered "$reference"; then
    image_present "$reference" || step "build $reference" build "$reference" "$dockerfile" "$context" --label "cairn.checkout=$CHECKOUT"
    MISSING+=("$reference")
    forget_others "$reference"
  fi
  publish "$variable" "$reference"
}

# The operator's image and chart of an earlier commit
previous_operator() {
  local reference=${IMAGE_REGISTRY:+$IMAGE_REGISTRY/}cairn/operator-previous:$OPERATOR_PREVIOUS_REVISION source=$STATE/operator-previous
  git -C "$CHECKOUT" cat-file -e "$OPERATOR_PREVIOUS_REVISION^{commit}" 2>/dev/null ||
    die "this checkout has no commit $OPERATOR_PREVIOUS_REVISION, which the operator is upgraded from; fetch its whole history."
  rm -rf "$source"
  mkdir -p "$source"
  git -C "$CHECKOUT" archive "$OPERATOR_PREVIOUS_REVISION" | tar -x -C "$source"
  if ! is_delivered "$reference"; then
    image_present "$reference" || CHECKOUT=$source step "build $reference" build "$reference" operator/Dockerfile . --label "cairn.checkout=$CHECKOUT"
    MISSING+=("$reference")
  fi
  publish OPERATOR_PREVIOUS_IMAGE "$reference"
}

# published VARIABLE REFERENCE: nodes can pull what this machine could pull; a stand-in they must be given
published() {
  if [ -n "$(stand_in_key "$2")" ] && ! is_delivered "$2"; then MISSING+=("$2"); fi
  publish "$1" "$2"
}

publish() {
  printf -v "$1" %s "$2"
  echo "$1=$2" >>"$STATE/images.env.new"
  echo "$2"
}

# Files that git knows or would add, and the images that others publish
hash_of_inputs() {
  local file
  cd "$CHECKOUT"
  {
    docker image inspect -f '{{.Id}}' "$PYTHON_IMAGE" "$HELM_IMAGE"
    git ls-files -z --cached --others --exclude-standard -- "$@" | sort -zu | while IFS= read -r -d '' file; do
      [ ! -f "$file" ] || echo "$([ ! -x "$file" ] || echo +x) $(sha256sum "$file")"
    done
  } | sha256sum | cut -c1-12
}

# ---- to the cluster: into kind's nodes, or by the registry that IMAGE_REGISTRY names

nodes() { docker ps -q --filter "label=io.x-k8s.kind.cluster=$KIND_CLUSTER_NAME"; }

is_delivered() {
  local node reference=$1 found=1
  [ -z "${IMAGE_REGISTRY:-}" ] || return 1
  case $reference in
  *.*/*) ;;  # with its registry's host
  */*) reference=docker.io/$reference ;;
  *) reference=docker.io/library/$reference ;;
  esac
  for node in $(nodes); do
    [ -n "$(docker exec "$node" ctr -n k8s.io images ls -q "name==$reference")" ] || return 1
    found=0
  done
  return $found
}

# deliver REFERENCE...: in one go, as the images share layers
deliver() {
  local reference
  if [ -n "${IMAGE_REGISTRY:-}" ]; then
    for reference in "$@"; do step "push $reference" docker push "$reference"; done
  elif [ -n "$(nodes)" ]; then
    step "load ${*##*/} into the nodes" kind load docker-image "$@" --name "$KIND_CLUSTER_NAME"
  else
    die "this cluster's nodes are not in this Docker; set IMAGE_REGISTRY to a registry both can reach."
  fi
}

# Earlier builds of the image by this checkout
forget_others() {
  docker images -q --filter "label=cairn.checkout=$CHECKOUT" --filter "reference=${1%:*}" --format '{{.Repository}}:{{.Tag}}' |
    grep -vxF "$1" | xargs -r docker rmi >/dev/null 2>&1 || true
}

main
