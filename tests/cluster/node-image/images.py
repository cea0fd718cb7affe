"""Make a docker-archive of the images that a node has from the start.

    kubeadm config images list | images.py ROOT PROGRAMS OUT

The images are thin: a program each, and for those that change the network also iptables and its like, taken with their
libraries out of ROOT, the node's root file system. Layers are shared.
"""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PODNET = "localhost/kind/podnet:v1"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
NETWORK_PROGRAMS = [
    "usr/sbin/xtables-nft-multi",
    "usr/sbin/xtables-legacy-multi",
    "usr/sbin/conntrack",
    "usr/sbin/nft",
    "usr/bin/ip",
    "usr/bin/dash",
    "usr/bin/nsenter",
]


class Layer:
    """A layer of an image, written reproducibly."""

    def __init__(self, fill: "Callable[[Layer], None]") -> None:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as self._tar:
            fill(self)
        self.digest = hashlib.sha256(raw.getvalue()).hexdigest()
        self.data = gzip.compress(raw.getvalue(), 1, mtime=0)

    def directories(self, *paths: str, mode: int = 0o755) -> None:
        for path in paths:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self._tar.addfile(entry)

    def link(self, path: str, target: str) -> None:
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def program(self, source: Path, path: str) -> None:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = source.stat().st_size, 0o755
        with source.open("rb") as file:
            self._tar.addfile(entry, file)


def kubernetes(programs: Path) -> Layer:
    """All of Kubernetes is one program that acts by the name it is called by."""

    def fill(layer: Layer) -> None:
        layer.directories("usr", "usr/local", "usr/local/bin")
        layer.directories("tmp", mode=0o1777)
        layer.program(programs / "k8s", "usr/local/bin/k8s")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
            layer.link(f"usr/local/bin/{name}", "k8s")

    return Layer(fill)


def network_tools(root: Path) -> Layer:
    """iptables, nft, conntrack, ip and a shell."""

    def inside(*command: str) -> str:
        return subprocess.run(["chroot", root, *command], capture_output=True, text=True, check=False).stdout

    def fill(layer: Layer) -> None:
        extensions = f"{LIBRARIES}/xtables"
        layer.directories("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", LIBRARIES, extensions, "run", "etc", "var")
        for name in ("bin", "sbin", "lib", "lib64"):
            layer.link(name, f"usr/{name}")
        layer.link("var/run", "/run")
        libraries = {"/lib64/ld-linux-x86-64.so.2"}
        for path in [
            *NETWORK_PROGRAMS,
            *(f"{extensions}/{entry.name}" for entry in sorted((root / extensions).iterdir())),
        ]:
            if (root / path).is_symlink():
                layer.link(path, str((root / path).readlink()))
            else:
                layer.program(root / path, path)
                words = inside("ldd", f"/{path}").split()
                libraries |= {word for word in words if word.startswith("/") and not word.endswith(":")}
        for library in sorted(libraries):
            real = inside("readlink", "-f", library).strip().lstrip("/")
            layer.program(root / real, f"usr{library}" if library.startswith("/lib") else library.lstrip("/"))
        layer.link("usr/bin/sh", "dash")
        layer.link("usr/sbin/ip", "../bin/ip")
        for family in ("iptables", "ip6tables"):
            for action in ("", "-save", "-restore"):
                layer.link(f"usr/sbin/{family}{action}", "xtables-nft-multi")
                layer.link(f"usr/sbin/{family}-nft{action}", "xtables-nft-multi")
                layer.link(f"usr/sbin/{family}-legacy{action}", "xtables-legacy-multi")

    return Layer(fill)


def single(program: Path, path: str) -> Layer:
    def fill(layer: Layer) -> None:
        layer.directories(*reversed([str(parent) for parent in Path(path).parents][:-1]))
        layer.program(program, path)

    return Layer(fill)


def contents(programs: Path, root: Path) -> dict[str, tuple[list[Layer], list[str]]]:
    """Layers and entry point by the last part of an image's name."""
    kube, network = kubernetes(programs), network_tools(root)
    return {
        "kube-apiserver": ([kube], []),
        "kube-controller-manager": ([kube], []),
        "kube-scheduler": ([kube], []),
        "kube-proxy": ([kube, network], []),
        "podnet": ([kube, network, single(programs / "podnet", "podnet")], ["/podnet"]),
        "etcd": ([single(programs / "etcd", "usr/local/bin/etcd")], []),
        "coredns": ([single(programs / "coredns", "coredns")], ["/coredns"]),
        "pause": ([single(programs / "pause", "pause")], ["/pause"]),
    }


def config(reference: str, layers: Sequence[Layer], entrypoint: Sequence[str]) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": entrypoint or None,
            "Labels": {"cairn.image": reference},  # makes the ids of images with the same layers differ
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
    }


def main(root: str, programs: str, out: str) -> None:
    by_name = contents(Path(programs), Path(root))
    manifest: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for reference in [*sys.stdin.read().split(), PODNET]:
        layers, entrypoint = by_name[reference.rpartition("/")[2].partition(":")[0]]
        document = json.dumps(config(reference, layers, entrypoint)).encode()
        name = hashlib.sha256(document).hexdigest() + ".json"
        files[name] = document
        files |= {f"{layer.digest}.tar.gz": layer.data for layer in layers}
        members = [f"{layer.digest}.tar.gz" for layer in layers]
        manifest.append({"Config": name, "RepoTags": [reference], "Layers": members})
    files["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(out, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
