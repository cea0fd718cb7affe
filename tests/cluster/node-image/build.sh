#!/usr/bin/env bash
# build.sh IMAGE: make the image of kind's nodes with no image registry at hand, from Debian packages and Go modules.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
. "$HERE/tools.sh"

SOURCES=$HERE/node-image
PARTS=$CACHE/node-parts
VERSION=$(kubernetes_version)

main() {
  [ "$(uname -m)" = x86_64 ] || die "the node image can be made on x86_64 only; make $NODE_IMAGE_PUBLISHED available to Docker."
  need_go
  need_packages mmdebstrap jq gcc libc6-dev containerd xz-utils
  fetch_modules &
  root_file_system
  wait
  programs
  step "assemble $1" assemble "$1"
}

# ---- parts: each is made once per version of it

# While dpkg keeps one of the cores busy. What goes wrong here, the compiler meets again and tells.
fetch_modules() {
  cd "$PROGRAMS"
  go list -deps ./... tool >/dev/null 2>&1 9>&- || true
}

root_file_system() {
  local key
  key=$(declare -f debian_root | sha256sum | cut -c1-8)
  ROOT_ARCHIVE=$PARTS/root-$key.tar
  step_once "Debian root file system" "$ROOT_ARCHIVE" debian_root
}

debian_root() {
  local packages=systemd,containerd,runc,containernetworking-plugins,conntrack,iptables,nftables,iproute2,ethtool
  packages+=,util-linux,mount,kmod,procps,libseccomp2,ca-certificates,curl,jq
  # shellcheck disable=SC2016
  mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$packages" --format=tar \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' bookworm "$1"
}

programs() {
  local program
  K8S=$PARTS/kubernetes-$VERSION-$(program_key kubernetes)
  step_once "build kubernetes $VERSION" "$K8S/k8s" build_program ./kubernetes
  step_once "build kubeadm" "$K8S/kubeadm" build_program k8s.io/kubernetes/cmd/kubeadm
  step_once "build kubectl" "$K8S/kubectl" build_program k8s.io/kubernetes/cmd/kubectl
  step_once "build pause" "$K8S/pause" pause_build
  PROGRAMS_OF_IMAGES=("$K8S"/*)
  for program in etcd podnet coredns; do
    PROGRAMS_OF_IMAGES+=("$PARTS/$program-$(program_key $program)/$program")
    step_once "build $program" "${PROGRAMS_OF_IMAGES[-1]}" build_program ./$program
  done
}

pause_build() {
  cd "$PROGRAMS"
  gcc -Os -static -DVERSION="$(image_tag pause)" -o "$1" \
    "$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c"
}

# The images, with their tags, that this version's kubeadm wants to find
wanted_images() { "$K8S/kubeadm" config images list --kubernetes-version "$VERSION" 2>/dev/null; }

image_tag() { wanted_images | sed -n "s|.*/$1:||p"; }

# ---- the image

assemble() {
  local work root
  work=$(new_temporary)
  root=$work/root
  mkdir "$root"
  tar -C "$root" -xf "$ROOT_ARCHIVE" --exclude='./dev/*'
  as_kind_base "$root"
  install_kubernetes "$root"
  preload_images "$root" "$work"
  # `docker import` makes the single layer but cannot set a stop signal; the Dockerfile can.
  tar -C "$root" -cf - . | docker import - "cairn/node-root:${1##*:}"
  docker build -q -t "$1" --build-arg "ROOT=cairn/node-root:${1##*:}" - <"$SOURCES/Dockerfile"
  docker rmi "cairn/node-root:${1##*:}"
  rm -rf "$work"
}

# What kind's images/base/Dockerfile does, with the files of the kind module itself
as_kind_base() {
  local root=$1 files file units=$1/lib/systemd/system
  files=$(cd "$SOURCES" && GOFLAGS='' go mod download -json "sigs.k8s.io/kind@$KIND_VERSION" | jq -r .Dir)/images/base/files
  install -D -m 755 -t "$root/usr/local/bin" "$files/usr/local/bin/entrypoint"
  install -D -m 755 -t "$root/kind/bin" "$files"/kind/bin/*
  (
    cd "$files"
    for file in etc/containerd/config.toml etc/crictl.yaml etc/default/kubelet etc/sysctl.d/* \
      etc/systemd/system/{containerd,kubelet,undo-mount-hacks}.service etc/systemd/system/kubelet.slice \
      etc/systemd/system/kubelet.service.d/*; do
      install -D -m 644 "$file" "$root/$file"
    done
  )
  rm -f "$units"/sysinit.target.wants/systemd-tmpfiles-setup.service "$units"/multi-user.target.wants/* \
    "$units"/local-fs.target.wants/* "$units"/sockets.target.wants/*{udev,initctl}* "$units"/basic.target.wants/* \
    "$units"/containerd.service "$root"/etc/systemd/system/*.wants/* "$root"/etc/cni/net.d/*
  echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
  ln -sf /lib/systemd/systemd "$root/sbin/init"
  for file in containerd ctr containerd-shim-runc-v2; do ln -sf "/usr/bin/$file" "$root/usr/local/bin/$file"; done
  systemctl --root="$root" enable kubelet.service containerd.service undo-mount-hacks.service
  systemctl --root="$root" mask systemd-binfmt.service
  mkdir -p "$root/etc/kubernetes/manifests" "$root/opt/cni/bin" "$root/etc/cni/net.d"
  mv "$root"/usr/lib/cni/* "$root/opt/cni/bin/"
  chroot "$root" ctr oci spec |
    jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
      >"$root/etc/containerd/cri-base.json"
  sed -i "s#pause:[0-9.]*\"#pause:$(image_tag pause)\"#" "$root/etc/containerd/config.toml"
}

install_kubernetes() {
  install -m 755 "$K8S/k8s" "$1/usr/bin/kubelet"
  install -m 755 "$K8S/kubeadm" "$K8S/kubectl" "$1/usr/bin/"
  echo -n "$VERSION" >"$1/kind/version"
  install -D -m 644 -t "$1/kind/manifests" "$SOURCES"/manifests/*.yaml
}

# preload_images ROOT WORK: unpack the images into ROOT's /var/lib/containerd with a containerd that lives for that long
preload_images() {
  local root=$1 work=$2 pid images
  mkdir "$work/programs"
  ln -s "${PROGRAMS_OF_IMAGES[@]}" "$work/programs/"
  wanted_images | python3 "$SOURCES/images.py" "$root" "$work/programs" "$work/images.tar"
  cat >"$work/containerd.toml" <<TOML
version = 2
root = "$root/var/lib/containerd"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$work/containerd.sock"
TOML
  # It and its mounts end with this shell, however that ends.
  setpriv --pdeathsig KILL unshare --mount containerd --config "$work/containerd.toml" 9>&- &
  pid=$!
  ctr() { command ctr -a "$work/containerd.sock" -n k8s.io "$@"; }
  await 20 ctr version
  ctr images import "$work/images.tar"
  images=$(ctr images ls -q)
  for image in $images; do ctr images label "$image" io.cri-containerd.image=managed io.cri-containerd.pinned=pinned; done
  kill $pid
  wait $pid || true
  rm -rf "$root"/var/lib/containerd/{tmpmounts,io.containerd.runtime*}
}

main "$@"
