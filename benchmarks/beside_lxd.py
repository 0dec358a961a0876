"""Measure requests per second of devlxd, compared with a real LXD.

All servers receive requests in turn, from inside one container of that LXD. Needs root
and ``apt-get install lxc lxd lxd-client nghttp2-client``. Run it in a checkout
with ``python -m benchmarks.beside_lxd``; with ``--checkout DIR`` the devlxd of
another checkout is measured as well.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack

from benchmarks.requests import QUICK_ROUNDS, ROUNDS, h2load, rate_of
from benchmarks.serving import (
    CheckoutServer,
    checkouts,
    in_turns,
    make_parser,
    print_row,
)
from tests.integration.lxc import make_home, unique_name
from tests.integration.lxd import LXD, missing_lxd


def main() -> None:
    """Measure all servers in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    problem = missing_lxd()
    if problem or shutil.which("h2load") is None:
        raise SystemExit(problem or "needs h2load (Debian: nghttp2-client)")
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        lxd = LXD(home)
        lxd.start()
        started.callback(lxd.stop)
        binds = {}
        for name, checkout in checkouts(options.checkout).items():
            (home / name).mkdir()
            containers = f"--containers={lxd.containers}"
            devlxd = CheckoutServer(checkout, home / name, containers)
            started.callback(devlxd.stop)
            binds[home / name] = f"dev/{name}"
        container = unique_name("client")
        lxd.start_container(container, binds, init="/usr/bin/sleep infinity")
        lxd.lxc("config", "set", container, "user.foo=bar")
        servers = {host.name: h2load(f"/{guest}/sock") for host, guest in binds.items()}
        servers["LXD"] = h2load("/dev/lxd/sock")
        rates = in_turns(
            servers,
            QUICK_ROUNDS if options.quick else ROUNDS,
            lambda command: rate_of(lxd.lxc("exec", container, "--", *command)),
        )
    print_row("one key of the config", rates, "requests/s")


if __name__ == "__main__":
    main()
