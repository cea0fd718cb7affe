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
  local recipe
  recipe=$(
    {
      find "$HERE/node-image" "$PROGRAMS" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat
      declare -f build_program
      echo "$KIND_VERSION"
    } | sha256sum | cut -c1-8
  )
  printf '%s-%s' "$(kubernetes_version)" "$recipe"
}
