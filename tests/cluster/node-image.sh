# Sourced: the image of kind's nodes. Published where it can be had, else made here from Debian packages and Go modules.
# shellcheck shell=bash

# find_node_image: set NODE_IMAGE to an image that Docker has
find_node_image() {
  local built archive
  built=cairn/node:$(node_image_tag)
  archive=$(image_archive "$built")
  NODE_IMAGE=$NODE_IMAGE_PUBLISHED
  if image_present "$NODE_IMAGE"; then return; fi
  if ! image_present "$built" && [ ! -e "$archive" ]; then
    if docker pull "$NODE_IMAGE"; then return; fi
    say "$NODE_IMAGE cannot be pulled; making $built, which takes some ten minutes the first time."
    "$HERE/node-image/build.sh" "$built"
  fi
  NODE_IMAGE=$built
  keep_image "$built" "$archive"
}

# The recipe is the version.
node_image_tag() {
  local version
  version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$HERE/node-image/kubernetes/go.mod")
  printf '%s-%s' "$version" \
    "$({ cat "$HERE"/node-image/*.* "$HERE"/node-image/*/*; echo "$KIND_VERSION"; } | sha256sum | cut -c1-8)"
}
