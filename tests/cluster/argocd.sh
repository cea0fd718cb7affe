# Sourced: Argo CD, for `make test-argocd`: its manifests, and the images that they name.
# shellcheck shell=bash

. "$HERE/go.sh"
. "$HERE/base-images.sh"

ARGOCD_MODULE=github.com/argoproj/argo-cd/v3
ARGOCD_MANIFESTS=$CACHE/argocd/$ARGOCD_VERSION/core-install.yaml

# have_argocd: everything but what is to be given to the cluster
have_argocd() {
  step_once "fetch the manifests of Argo CD $ARGOCD_VERSION" "$ARGOCD_MANIFESTS" fetch_argocd_manifests
  ARGOCD_IMAGE=$(image_named /argocd:)
  REDIS_IMAGE=$(image_named /redis:)
  base_image "$ARGOCD_IMAGE" make_argocd_image
  base_image "$REDIS_IMAGE" make_redis
}

image_named() { awk -v part="$1" '$1 == "image:" && index($2, part) {print $2; exit}' "$ARGOCD_MANIFESTS"; }

# fetch_argocd_manifests FILE: from its repository, or where that is out of reach, from its Go module
fetch_argocd_manifests() {
  local path=manifests/core-install.yaml
  curl --fail --silent --show-error --location --max-time 60 --output "$1" \
    "https://raw.githubusercontent.com/argoproj/argo-cd/$ARGOCD_VERSION/$path" || cp "$(argocd_source)/$path" "$1"
}

argocd_source() {
  need_go
  go mod download -json "$ARGOCD_MODULE@$ARGOCD_VERSION" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# The module's go.mod has `replace` lines, which `go install` refuses.
build_argocd() {
  local file=$1 directory
  directory=$(new_temporary)
  cp -r "$(argocd_source)/." "$directory"
  chmod -R u+w "$directory"
  cd "$directory"
  quick_go build -mod=mod -ldflags "-s -w -X $ARGOCD_MODULE/common.version=${ARGOCD_VERSION#v}" -o "$file" ./cmd
}

# Argo CD's program with what it calls, by the paths and the user of the published image
make_argocd_image() {
  local image=$1 key=$2 root name
  root=$(new_temporary)
  mkdir -p "$root/usr/local/bin" "$root/app/config"/{ssh,tls,gpg/source,gpg/keys}
  build_argocd "$root/usr/local/bin/argocd"
  go_install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE_VERSION" "$root/usr/local/bin/kustomize"
  use_tool helm
  cp "$(command -v helm)" "$root/usr/local/bin/helm"
  cp "$(argocd_source)"/{entrypoint.sh,hack/gpg-wrapper.sh,hack/git-verify-wrapper.sh} "$root/usr/local/bin/"
  chmod 755 "$root"/usr/local/bin/*
  for name in server repo-server cmp-server application-controller applicationset-controller k8s-auth; do
    ln -s argocd "$root/usr/local/bin/argocd-$name"
  done
  touch "$root/app/config/ssh/ssh_known_hosts"
  install -d -m 755 "$root/etc/ssh"
  ln -s /app/config/ssh/ssh_known_hosts "$root/etc/ssh/ssh_known_hosts"
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --include=ca-certificates,git,gpg,gpg-agent,openssh-client,tini,tzdata \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $CA_BUNDLE /etc/ssl/certs" \
    --customize-hook="sync-in $root /" \
    --customize-hook='chroot "$1" useradd --uid 999 --create-home argocd && chroot "$1" chown -R argocd /home/argocd /app/config/gpg/keys' \
    --customize-hook='chmod 700 "$1/app/config/gpg/keys"; chmod 755 "$1"; rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    bookworm - |
    docker import -c "LABEL cairn.stand-in=$key" -c 'USER 999' -c 'WORKDIR /home/argocd' -c 'ENTRYPOINT ["/usr/bin/tini", "--"]' \
      -c 'ENV USER=argocd PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image"
}

# Debian's Redis, which takes arguments as the published image does
make_redis() {
  local image=$1 key=$2
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --include=redis-server \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    bookworm - |
    docker import -c "LABEL cairn.stand-in=$key" -c 'ENTRYPOINT ["/usr/bin/redis-server"]' - "$image"
}
