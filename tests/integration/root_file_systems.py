"""Root file systems with other releases of Debian than that of the host.

mmdebstrap makes them from the package sources of the host, once for all runs of the
tests: they stay in `CACHE`.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.integration.processes import TIMEOUT, GuestError, Output, run, start

#: The directory of the root file systems. They may be deleted at any time when no
#: tests run.
CACHE = Path(os.environ.get("DEVLXD_TESTS_CACHE", "/var/cache/devlxd-tests"))

#: How long mmdebstrap may take, in seconds; it takes about 40.
BUILD_TIMEOUT = 600

#: The programs that the host needs, and their packages.
REQUIRED_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "apt-get": "apt",
    "unshare": "util-linux",
}

#: The options of the host's apt that also matter for other releases.
_APT_OPTIONS = re.compile(r"Acquire::(https?|Check-\w|Retries)", re.IGNORECASE)

#: mmdebstrap, all that it starts and all that it mounts end with this command.
_ISOLATED = [
    *("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
    *("timeout", "--foreground", f"{BUILD_TIMEOUT}"),
]

_UNFINISHED = "unfinished-"


def cached_root(name: str, build: Callable[[Path], object]) -> Path:
    """Return the root file system ``name``; build it if it does not exist.

    It gets this name when it is complete. Other processes wait for it.

    :param build: creates the directory ``root`` in an empty directory.
    :raises GuestError: if ``build`` raises it.
    """
    root = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            # No other process builds: these were left by processes that were killed.
            for left in CACHE.glob(f"{_UNFINISHED}*"):
                _delete(left)
            directory = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=CACHE))
            try:
                # apt downloads as a user of its own.
                directory.chmod(0o755)
                build(directory)
                (directory / "root").rename(root)
            finally:
                _delete(directory)
    return root


def install(suite: str, variant: str, packages: Sequence[str], target: Path) -> None:
    """Install a release of Debian from the first package source that has it.

    :param variant: see ``mmdebstrap(1)``.
    :param target: the path of the directory or of the ``.tar`` to create.
    :raises GuestError: if no package source of the host has all packages.
    """
    options = [
        f"--aptopt={line}"
        for line in run("apt-config", "dump").splitlines()
        if _APT_OPTIONS.match(line)
    ]
    options += ["--quiet", "--mode=root", f"--variant={variant}"]
    options.append(f"--include={','.join(packages)}")
    sites = run("apt-get", "indextargets", "--format=$(SITE)", "Created-By: Packages")
    errors = [f"no package source of the host has {suite} with all packages"]
    for site in dict.fromkeys(sites.split()):
        output = Output(f"mmdebstrap {suite}")
        process = start(
            *_ISOLATED, "mmdebstrap", *options, suite, str(target), site, output=output
        )
        try:
            code = process.wait(BUILD_TIMEOUT + TIMEOUT)
        finally:
            process.kill()
            process.wait(TIMEOUT)
        if code == 0:
            return
        _delete(target)
        errors.append("\n".join(output.text().splitlines()[-10:]))
    raise GuestError("\n".join(errors))


def _delete(path: Path) -> None:
    run("rm", "-rf", "--one-file-system", str(path))
