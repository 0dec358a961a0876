"""Measure requests per second of each dialect that containers of today speak.

One devlxd serves the same container in the dialects ``lxd``, ``lxd6`` and ``incus``,
which receive requests in turn. Needs ``h2load`` (Debian: ``apt-get install
nghttp2-client``). Run it in a checkout with ``python -m benchmarks.dialects``.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack

from benchmarks.h2load import missing_h2load, print_rates
from benchmarks.serving import HERE, CheckoutServer, make_parser
from tests.integration.lxc import make_home

#: The measured dialect, and those it is compared with.
DIALECTS = ("lxd6", "lxd", "incus")

DOCUMENT = """\
config:
  user.foo: bar
  volatile.cloud-init.instance-id: c1-1
devices:
  eth0: {type: nic, nictype: ipvlan}
"""

#: Paths that have the same response, or one of about the same size.
PATHS = ("/1.0/config/user.foo", "/1.0/config", "/1.0/meta-data", "/1.0/devices")


def main() -> None:
    """Measure all dialects in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    if problem := missing_h2load():
        raise SystemExit(problem)
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        for name in ("documents", *DIALECTS):
            (home / name).mkdir()
        (home / "documents" / "c1.yaml").write_text(DOCUMENT)
        first, *others = DIALECTS
        devlxd = CheckoutServer(
            HERE,
            home / first,
            "--assume=c1",
            f"--containers={home}/documents",
            *(f"--listen={name}={home / name}" for name in others),
            dialect=first,
        )
        started.callback(devlxd.stop)
        servers = {name: (f"{home / name}/sock", devlxd.pid) for name in DIALECTS}
        for path in PATHS:
            print_rates(path, servers, f"http://lxd{path}", options.quick)


if __name__ == "__main__":
    main()
