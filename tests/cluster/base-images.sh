# Sourced: images that others publish. Where they cannot be pulled, stand-ins of the same name, good enough to build on.
# shellcheck shell=bash

CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt

# base_image REFERENCE RECIPE: have REFERENCE in Docker, pulled or made by RECIPE.
# A stand-in's label tells what it was made from; one made from something else is made anew.
base_image() {
  local image=$1 recipe=$2 key archive
  key=$({ declare -f "$recipe"; cat "$CA_BUNDLE" 2>/dev/null; } | sha256sum | cut -c1-12)
  archive=$(image_archive "$image-$key")
  if image_present "$image"; then
    case $(stand_in_key "$image") in
    '') return ;;
    "$key") ;;
    *) docker rmi -f "$image" >/dev/null ;;
    esac
  fi
  if ! image_present "$image" && [ ! -e "$archive" ]; then
    if docker pull "$image"; then return; fi
    say "$image cannot be pulled; making a stand-in."
    need_packages mmdebstrap
    step "make a stand-in for $image" "$recipe" "$image" "$key"
  fi
  keep_image "$image" "$archive"
}

# Empty for an image that was pulled
stand_in_key() { docker image inspect -f '{{with .Config.Labels}}{{index . "cairn.stand-in"}}{{end}}' "$1"; }

# Debian's own Python, callable by the paths of the published image, which trusts what this machine trusts.
make_python() {
  local image=$1 key=$2
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $CA_BUNDLE /etc/ssl/certs" \
    --customize-hook='for n in python3 pip3; do ln -s /usr/bin/$n "$1/usr/local/bin/$n"; ln -s $n "$1/usr/local/bin/${n%3}"; done' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
    bookworm - |
    docker import -c "LABEL cairn.stand-in=$key" -c 'CMD ["python3"]' \
      -c 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8' \
      -c "ENV SSL_CERT_FILE=$CA_BUNDLE PIP_CERT=$CA_BUNDLE REQUESTS_CA_BUNDLE=$CA_BUNDLE" - "$image"
}

# The S3 server's program alone
make_s3() {
  local image=$1 key=$2 root
  root=$(new_temporary)
  mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs"
  install -d -m 1777 "$root/tmp"
  go_install "github.com/versity/versitygw/cmd/versitygw@$S3_VERSION" "$root/usr/local/bin/versitygw"
  cp "$CA_BUNDLE" "$root/etc/ssl/certs/"
  tar -C "$root" -cf - . | docker import -c "LABEL cairn.stand-in=$key" \
    -c 'ENTRYPOINT ["/usr/local/bin/versitygw"]' -c 'ENV PATH=/usr/local/bin' - "$image"
}

# Helm alone, where the published image has it
make_helm_image() {
  local image=$1 key=$2 root
  root=$(new_temporary)
  use_tool helm
  mkdir -p "$root/usr/bin"
  cp "$(command -v helm)" "$root/usr/bin/helm"
  tar -C "$root" -cf - . | docker import -c "LABEL cairn.stand-in=$key" -c 'ENTRYPOINT ["/usr/bin/helm"]' - "$image"
}

# Debian's PostgreSQL, with the user and the PATH of the published image, but no entrypoint
make_postgres() {
  local image=$1 key=$2
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --include=postgresql-15 \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='echo postgres:x:999: >>"$1/etc/group"' \
    --essential-hook='echo postgres:x:999:999::/var/lib/postgresql:/bin/sh >>"$1/etc/passwd"' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common"' \
    --essential-hook='echo create_main_cluster = false >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    bookworm - |
    docker import -c "LABEL cairn.stand-in=$key" \
      -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin' - "$image"
}

# Debian's image registry, by the name that the published image's program has
make_registry() {
  local image=$1 key=$2
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --include=docker-registry \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='ln -s /usr/bin/docker-registry "$1/usr/local/bin/registry"' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    bookworm - |
    docker import -c "LABEL cairn.stand-in=$key" -c 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - "$image"
}
