"""How many questions a second devlxd answers, beside a real LXD.

Both are asked from inside one container of that LXD, in turns. Needs root and
``apt-get install lxc lxd lxd-client nghttp2-client``; run it in a checkout:
``python -m benchmarks.beside_lxd``.
"""

from __future__ import annotations

import shutil

from benchmarks.questions import ROUNDS, load, rate_in, show
from benchmarks.serving import HERE, in_turns, use
from tests.integration.lxc import DevLXD, make_home, unique_name
from tests.integration.lxd import LXD, missing_lxd


def main() -> None:
    """Ask both in turns, and print the medians and their ratio."""
    problem = missing_lxd()
    if problem or shutil.which("h2load") is None:
        raise SystemExit(problem or "needs h2load (Debian: nghttp2-client)")
    use(HERE)
    home = make_home()
    (home / "sockets").mkdir()
    lxd = LXD(home)
    lxd.start()
    name = unique_name("asker")
    devlxd = DevLXD(f"--containers={lxd.containers}", f"--listen={home}/sockets")
    try:
        lxd.start_container(
            name, {home / "sockets": "dev/devlxd"}, init="/usr/bin/sleep infinity"
        )
        lxd.lxc("config", "set", name, "user.foo=bar")
        servers = {word: load(f"/dev/{word}/sock") for word in ("devlxd", "lxd")}
        rates = in_turns(
            servers,
            ROUNDS,
            lambda command: rate_in(lxd.lxc("exec", name, "--", *command)),
        )
    finally:
        devlxd.stop()
        lxd.stop()
        shutil.rmtree(home)
    show(rates)


if __name__ == "__main__":
    main()
