# Sourced: a Docker to use. The machine's own if `docker info` answers, else a dockerd in the cache, which all
# checkouts of this user share and which takes back what it did to the machine when it stops.
# shellcheck shell=bash

OWN=$CACHE/docker
OWN_SOCKET=unix://$OWN/docker.sock
FORWARDING=/proc/sys/net/ipv4/ip_forward
FORWARDING6=/proc/sys/net/ipv6/conf/all/forwarding

use_docker() {
  if own_docker_runs; then
    export DOCKER_HOST=$OWN_SOCKET
  elif ! docker info >/dev/null 2>&1; then
    start_own_docker
  fi
  # Debian's client has no buildx; without it, plain `docker build` works only when it is told so.
  docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
}

own_docker_runs() { is_running "$OWN/pid" dockerd; }

# Whether a dockerd of ours ran here and was not stopped by stop_own_docker
own_docker_left_traces() { [ -e "$OWN/host-before" ]; }

# is_running PIDFILE NAME: a pid file may be older than the machine's last boot, so the process has to be ours as well
is_running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$OWN"
}

start_own_docker() {
  if [ "$(id -u)" != 0 ]; then
    docker info 2>&1 >/dev/null | tail -n 1 >&2 || true
    die "Docker is not usable, and starting one needs root. Install and start Docker (or make 'docker info' work), then run again."
  fi
  need_packages docker.io iptables iproute2
  # The package starts a dockerd where it can.
  if docker info >/dev/null 2>&1; then return; fi
  export DOCKER_HOST=$OWN_SOCKET
  step "start a dockerd in $OWN" launch_own_docker
}

launch_own_docker() {
  mkdir -p "$OWN"
  [ -e "$OWN/host-before" ] || describe_host >"$OWN/host-before"
  is_running "$OWN/exec/containerd/containerd.pid" containerd || rm -f "$OWN/exec/containerd/containerd.pid"
  rm -f "$OWN/pid"
  cp "$HERE/runc-without-sys-resource" "$OWN/"
  own_docker_settings >"$OWN/daemon.json"
  setsid dockerd --config-file "$OWN/daemon.json" --host "$OWN_SOCKET" --pidfile "$OWN/pid" \
    >"$OWN/log" 2>&1 </dev/null 9>&- &
  if ! await 60 docker info; then
    tail -n 20 "$OWN/log"
    return 1
  fi
}

own_docker_settings() {
  local runtime=
  has_sys_resource || runtime=', "default-runtime": "cairn", "runtimes": {"cairn": {"path": "'$OWN'/runc-without-sys-resource"}}'
  cat <<JSON
{"data-root": "$OWN/data", "exec-root": "$OWN/exec", "storage-driver": "overlay2",
 "exec-opts": ["native.cgroupdriver=cgroupfs"]$runtime}
JSON
}

# Whether containers can be given CAP_SYS_RESOURCE (bit 24), which some sandboxes lack
has_sys_resource() { ((0x$(awk '$1 == "CapBnd:" {print $2}' /proc/self/status) >> 24 & 1)); }

# What dockerd will change on the machine, as shell assignments
describe_host() {
  local path absent=()
  for path in /lib/modules /etc/docker /etc/docker/key.json /opt/containerd /run/docker /run/containerd; do
    [ -e "$path" ] || absent+=("$path")
  done
  echo "absent=(${absent[*]})"
  echo "forwarding=$(cat $FORWARDING)"
  echo "forwarding6=$(cat $FORWARDING6 2>/dev/null)"
  echo "forward_policy=$(iptables -S FORWARD | awk '$1 == "-P" {print $3}')"
}

# Stops the dockerd unless containers are left in it, be they of another checkout.
stop_own_docker_if_idle() {
  local left
  left=$(docker ps -aq | wc -l)
  if [ "$left" != 0 ]; then
    say "The dockerd in $OWN stays: it has $left containers of other checkouts."
    return
  fi
  step "stop the dockerd in $OWN" stop_own_docker
}

stop_own_docker() {
  docker network prune -f
  docker image prune -f --filter until=24h  # what `docker build` kept of stages
  kill "$(cat "$OWN/pid")"
  await 60 own_docker_is_gone
  restore_host
}

own_docker_is_gone() { ! own_docker_runs && ! is_running "$OWN/exec/containerd/containerd.pid" containerd; }

restore_host() {
  local absent forwarding forwarding6 forward_policy path
  # shellcheck source=/dev/null
  . "$OWN/host-before"
  ! ip link show docker0 >/dev/null 2>&1 || ip link delete docker0
  remove_docker_rules iptables
  remove_docker_rules ip6tables
  iptables -P FORWARD "$forward_policy"
  echo "$forwarding" >$FORWARDING
  [ -z "$forwarding6" ] || echo "$forwarding6" >$FORWARDING6
  awk -v own="$OWN/" 'index($5, own) == 1 {print $5}' /proc/self/mountinfo | sort -r | xargs -r umount
  for path in "${absent[@]}"; do
    case $path in
    /lib/modules) [ ! -e "$path" ] || rmdir --ignore-fail-on-non-empty "$path" ;;
    *) rm -rf --one-file-system "$path" ;;
    esac
  done
  rmdir /sys/fs/cgroup/*/docker /sys/fs/cgroup/docker 2>/dev/null || true
  rm -rf "$OWN/exec" "$OWN/host-before" "$OWN/docker.sock"
}

# Rules of Docker's are those that name its chains or bridges.
remove_docker_rules() {
  local table rule chain
  command -v "$1" >/dev/null || return 0
  for table in filter nat raw; do
    "$1" -t $table -S 2>/dev/null | sed -n -E '/DOCKER|docker0|br-[0-9a-f]{12}/s/^-A/-D/p' | while read -r rule; do
      xargs -r "$1" -t $table <<<"$rule"
    done
    for chain in $("$1" -t $table -S 2>/dev/null | awk '$1 == "-N" && $2 ~ /^DOCKER/ {print $2}'); do
      "$1" -t $table -F "$chain"
      "$1" -t $table -X "$chain"
    done
  done
}
