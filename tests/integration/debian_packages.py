"""Debian packages of this checkout, built in root file systems of other releases.

A build runs as ``nobody`` in an overlay over the root file system, with the network
of the host and with its configuration of pip.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.integration.cloud_guest import build_root
from tests.integration.processes import Output, run, start

CHECKOUT = Path(__file__).parents[2]

#: The packages in the root file systems. Only a build needs python3-venv.
PACKAGES = ["dbus", "man-db", "python3-venv", "systemd-sysv"]

#: The packages of `PACKAGES` and their dependencies that a host may lack.
BUILD_PACKAGES = [
    *("python3-venv", "python3*.*-venv", "python3-pip-whl", "python3-setuptools-whl"),
    *("python3-distutils", "python3-lib2to3"),
]

#: How long a build may take, in seconds; it takes about 30.
BUILD_TIMEOUT = 600

#: The uid and gid of the build, and of the directory of packages.
_NOBODY = 65534

#: The variables that builds inherit, apart from the configuration of pip.
_INHERITED = re.compile(r"(https?|no|all)_proxy", re.IGNORECASE)

#: An absolute path in an option of pip, which may be in a URL.
_PATH = re.compile(r"(?:(?<=file://)|(?<!\S))/[^\s'\"]*")

#: Builds a package. Mounts end with the process.
_SCRIPT = """
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay "$work/root" \
    -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work,userxattr"
cd "$work/root"
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir checkout packages
mount --bind "$packages" packages
mount --bind "$checkout" checkout
for path in $binds; do
    test -e "$path" || continue
    if test -d "$path"; then
        mkdir -p ".$path"
    else
        mkdir -p ".${path%/*}"
        rm -f ".$path"
        touch ".$path"
    fi
    mount --bind "$path" ".$path"
done
exec chroot --userspec=nobody:nogroup . \
    env -i $environment /checkout/packaging/build-deb /packages
"""


def debian_root(suite: str) -> Path:
    """Return the root file system of a release; build it if it does not exist.

    :raises GuestError: if it cannot be built.
    """
    return build_root(suite, PACKAGES)


def pip_options() -> dict[str, str]:
    """Return the configuration of pip on this host as environment variables."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    options = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].replace("-", "_").upper()
        options[f"PIP_{name}"] = str(ast.literal_eval(value)).replace("\n", " ")
    return options


def paths_of(options: Mapping[str, str], root: Path) -> Iterator[Path]:
    """Yield the paths of the host that the configuration of pip names.

    :param root: the root file system in which they will be mounted. A directory at
        the top that is empty there is yielded instead of what is in it: the pages of
        an index name files elsewhere.
    """
    for value in options.values():
        for text in _PATH.findall(value):
            path = Path(text)
            top = Path("/", path.parts[1]) if path.parts[1:] else path
            empty = not any((root / top.relative_to("/")).glob("*"))
            if path != top and empty and path.is_dir():
                yield top
            elif path != Path("/"):
                yield path


def start_build(suite: str, packages: Path) -> subprocess.Popen[bytes]:
    """Start to build a package.

    :param packages: the directory for it, which must exist.
    """
    root = debian_root(suite)
    work = packages.with_name(f"{packages.name}-build")
    work.mkdir()
    os.chown(packages, _NOBODY, _NOBODY)
    options = pip_options()
    inherited = {k: v for k, v in os.environ.items() if _INHERITED.fullmatch(k)}
    environment = {
        **inherited,
        **options,
        "HOME": "/tmp",
        "PATH": "/usr/bin:/bin",
        "SOURCE_DATE_EPOCH": "1700000000",
        # Most of the time would be that for compressing.
        "DPKG_DEB_COMPRESSOR_TYPE": "gzip",
        "DPKG_DEB_COMPRESSOR_LEVEL": "1",
    }
    binds = [Path("/etc/resolv.conf"), Path("/etc/hosts"), *paths_of(options, root)]
    variables = {
        "lower": root,
        "work": work,
        "packages": packages,
        "checkout": CHECKOUT,
    }
    assignments = [f"{name}={shlex.quote(str(p))}" for name, p in variables.items()]
    quoted = shlex.join(f"{name}={value}" for name, value in environment.items())
    paths = shlex.join(str(path) for path in dict.fromkeys(binds))
    script = _SCRIPT.replace("$environment", quoted).replace("$binds", paths)
    return start(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("timeout", "--foreground", str(BUILD_TIMEOUT)),
        *("sh", "-euc", "\n".join([*assignments, script])),
        output=Output(f"build-deb in {suite}"),
    )


def with_version(package: Path, version: str, directory: Path) -> Path:
    """Return a copy of a package with another version."""
    copy = directory / f"devlxd_{version}.deb"
    unpacked = directory / "unpacked"
    run("dpkg-deb", "--raw-extract", str(package), str(unpacked))
    control = unpacked / "DEBIAN" / "control"
    text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text())
    control.write_text(text)
    options = ["--root-owner-group", "-Zgzip", "-z1"]
    run("dpkg-deb", *options, "--build", str(unpacked), str(copy))
    shutil.rmtree(unpacked)
    return copy
