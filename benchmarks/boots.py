"""Measure the boot of Debian with cloud-init: under devlxd, LXD, and no socket.

Each boot is the first one of a new guest with the same configuration; without a
socket, cloud-init reads it from files. Needs root and
``apt-get install lxc lxd lxd-client mmdebstrap``. Run it in a checkout with
``python -m benchmarks.boots``; with ``--checkout DIR`` the devlxd of another checkout
is measured as well.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from benchmarks.serving import (
    CheckoutServer,
    checkouts,
    in_turns,
    make_parser,
    print_row,
)
from tests.integration.cloud_guest import (
    HOST_ID,
    CloudGuest,
    build_root,
    cloud_init_is_done,
    missing_requirement,
)
from tests.integration.lxc import make_home, unique_name
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import wait_until
from tests.integration.test_cloud_boot import cloud_config

ROUNDS = 10
QUICK_ROUNDS = 3

_METADATA = "architecture: x86_64\ncreation_date: 1700000000\n"

#: The device of the network in LXD: one that leads nowhere, as in the other guests.
_NETWORK = ["eth0", "nic", "nictype=p2p", "name=eth0"]

#: The time of a request in the log of cloud-init.
_REQUEST = re.compile(r"^(\S+ \S+) - .*\[GET\] \[HTTP:", re.MULTILINE)

#: Boots a new guest; returns the seconds until cloud-init was done, and those from
#: the end of its first request to the end of the last one.
Boot = Callable[[], tuple[float, float]]


def main() -> None:
    """Boot under all servers in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    if problem := missing_requirement() or missing_lxd():
        raise SystemExit(problem)
    build_root()
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        boots: dict[str, Boot] = {}
        for name, checkout in checkouts(options.checkout).items():
            (home / name).mkdir()
            (home / f"{name}-containers").mkdir()
            containers = f"--containers={home}/{name}-containers"
            devlxd = CheckoutServer(checkout, home / name, containers)
            started.callback(devlxd.stop)
            boots[name] = _under_devlxd(home / name, home / f"{name}-containers")
        lxd = LXD(home)
        lxd.start()
        started.callback(lxd.stop)
        _import_image(lxd, home / "debian.tar")
        boots["LXD"] = lambda: _boot_lxd(lxd)
        boots["files"] = lambda: _boot(home, None, _seed())
        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        measured = in_turns(boots, rounds, lambda boot: boot())
    print_row(
        "a boot", {n: [b for b, _ in times] for n, times in measured.items()}, "s"
    )
    del measured["files"]
    crawls = {n: [c * 1000 for _, c in times] for n, times in measured.items()}
    print_row("the requests of cloud-init", crawls, "ms")


def _under_devlxd(sockets: Path, containers: Path) -> Boot:
    def boot() -> tuple[float, float]:
        return _boot(sockets.parent, sockets, {}, containers)

    return boot


def _boot(
    home: Path,
    sockets: Path | None,
    files: Mapping[str, str],
    containers: Path | None = None,
) -> tuple[float, float]:
    guest = CloudGuest(unique_name("boot"), home / "guests", sockets, files)
    if containers is not None:
        document = json.dumps({"config": cloud_config("user.")})
        (containers / f"{guest.name}.json").write_text(document)
    begin = time.monotonic()
    guest.start()
    try:
        guest.wait_for_result()
        return time.monotonic() - begin, _crawl_of(guest.init_pid())
    finally:
        guest.stop()


def _seed() -> dict[str, str]:
    """Return the files from which cloud-init reads the same configuration."""
    config = cloud_config("")
    identity = config.pop("volatile.cloud-init.instance-id")
    files = {**config, "meta-data": f"instance-id: {identity}\nlocal-hostname: c1\n"}
    return {f"var/lib/cloud/seed/nocloud/{name}": files[name] for name in files}


def _import_image(lxd: LXD, path: Path) -> None:
    """Import the root file system of the guests as an image ``debian``."""
    metadata = path.with_name("metadata.yaml")
    metadata.write_text(_METADATA)

    def unmapped(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid -= HOST_ID
        member.gid -= HOST_ID
        return member

    with tarfile.open(path, "w") as archive:
        archive.add(metadata, metadata.name)
        archive.add(build_root(), "rootfs", filter=unmapped)
    lxd.lxc("image", "import", str(path), "--alias", "debian")
    path.unlink()


def _boot_lxd(lxd: LXD) -> tuple[float, float]:
    name = unique_name("boot")
    config = cloud_config("user.")
    del config["volatile.cloud-init.instance-id"]
    lxd.lxc("init", "debian", name)
    try:
        for key, value in config.items():
            lxd.lxc("config", "set", name, key, value)
        lxd.lxc("config", "device", "add", name, *_NETWORK)
        begin = time.monotonic()
        lxd.lxc("start", name)
        state = json.loads(lxd.lxc("query", f"/1.0/instances/{name}/state"))
        wait_until(lambda: cloud_init_is_done(state["pid"]), f"{name} has booted")
        return time.monotonic() - begin, _crawl_of(state["pid"])
    finally:
        lxd.lxc("delete", "-f", name)


def _crawl_of(pid: int) -> float:
    """Return the seconds from the end of the first request to that of the last one."""
    log = Path(f"/proc/{pid}/root/var/log/cloud-init.log").read_text()
    times = [
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f")
        for text in _REQUEST.findall(log)
    ]
    return (times[-1] - times[0]).total_seconds() if times else 0.0


if __name__ == "__main__":
    main()
