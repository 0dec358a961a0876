"""How many questions a second devlxd answers, beside a real LXD.

Both are asked from inside one container of that LXD, in turns. Needs root and
``apt-get install lxc lxd lxd-client nghttp2-client``; run it in a checkout:
``python -m benchmarks.beside_lxd``.
"""

from __future__ import annotations

import re
import shutil
import statistics

from tests.integration.lxc import DevLXD, make_home, unique_name
from tests.integration.lxd import LXD, missing_lxd

ROUNDS = 3

SECONDS = 3

TARGET = "http://lxd/1.0/config/user.foo"


def main() -> None:
    """Ask both in turns, and print the medians and their ratio."""
    problem = missing_lxd()
    if problem or shutil.which("h2load") is None:
        raise SystemExit(problem or "needs h2load (Debian: nghttp2-client)")
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
        rates: dict[str, list[float]] = {"devlxd": [], "lxd": []}
        for _ in range(ROUNDS):
            for server, rate in rates.items():
                socket = f"unix:/dev/{server}/sock"
                load = ["h2load", "--h1", "-B", socket, "-c8", f"-D{SECONDS}", TARGET]
                output = lxd.lxc("exec", name, "--", *load)
                match = re.search(r"([\d.]+) req/s", output)
                if match is None or "0 failed, 0 errored" not in output:
                    raise SystemExit(output)
                rate.append(float(match[1]))
    finally:
        devlxd.stop()
        lxd.stop()
        shutil.rmtree(home)
    medians = {server: statistics.median(rate) for server, rate in rates.items()}
    for server, median in medians.items():
        print(f"{server:10} {median:8.0f} questions/s")
    print(f"{'ratio':10} {medians['devlxd'] / medians['lxd']:8.2f}")


if __name__ == "__main__":
    main()
