"""Measure how long cloud-init's requests take, compared with a real LXD.

At each boot, cloud-init requests the meta-data, the list of config keys, each key and
the devices, with a connection for each request. The servers are measured in turn, from
a child of the init of one container of that LXD. Needs root and ``apt-get install lxc
lxd lxd-client``. Run it in a checkout with ``python -m benchmarks.crawl``; with
``--checkout DIR`` the devlxd of another checkout is measured as well.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack

from benchmarks.serving import (
    CheckoutServer,
    checkouts,
    in_turns,
    make_parser,
    percentile,
    print_row,
)
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd

ROUNDS = 20

QUICK_ROUNDS = 6

#: Crawls of one measurement.
CRAWLS = 50

#: What cloud-init requests besides meta-data, list and devices.
CONFIG = {
    "cloud-init.network-config": "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
    "cloud-init.user-data": "#cloud-config\npackages: [curl]\n",
    "cloud-init.vendor-data": "#cloud-config\nruncmd: [date]\n",
    "user.foo": "bar",
}

#: Prints the times of crawls in ms; the arguments are the socket and their number.
CRAWL = """
import json, socket, sys, time
from http.client import HTTPConnection

# As python-requests sends them.
HEADERS = {
    "Host": "localhost",
    "User-Agent": "python-requests/2.28.1",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "Connection": "keep-alive",
}

connections = []

def get(path):
    connection = HTTPConnection("localhost")
    connections.append(connection)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[1])
    connection.request("GET", path, headers=HEADERS)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, (path, response.status, body)
    return body

times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    get("/1.0/meta-data")
    keys = json.loads(get("/1.0/config"))
    for key in sorted(keys):
        get(key)
    get("/1.0/devices")
    times.append((time.perf_counter() - start) * 1000)
    # LXD 5.0.2 crashes if a connection is closed while it handles a request of
    # another one: close all, and let it finish that.
    while connections:
        connections.pop().close()
    time.sleep(0.02)
    assert len(keys) == 4, keys
print(json.dumps(times))
"""


def main() -> None:
    """Measure all servers in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    problem = missing_lxd()
    if problem:
        raise SystemExit(problem)
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        lxd = LXD(home)
        lxd.start()
        started.callback(lxd.stop)
        init = home / "init"
        init.mkdir()
        init.chmod(0o777)
        (init / "init.py").write_text(INIT)
        binds = {init: "run/init"}
        servers = {}
        for name, checkout in checkouts(options.checkout).items():
            (home / name).mkdir()
            containers = f"--containers={lxd.containers}"
            devlxd = CheckoutServer(checkout, home / name, containers, dialect="lxd6")
            started.callback(devlxd.stop)
            binds[home / name] = f"dev/{name}"
            servers[name] = f"/dev/{name}/sock"
        servers["LXD"] = "/dev/lxd/sock"
        container = LXCContainer(unique_name("client"), home)
        lxd.start_container(container.name, binds)
        lxd.lxc("exec", container.name, "--", "sh", "-c", UNTIL_READY)
        for key, value in CONFIG.items():
            lxd.lxc("config", "set", container.name, f"{key}={value}")

        def crawl(path: str) -> list[float]:
            command = ["python3", "-c", CRAWL, path, str(CRAWLS)]
            times: list[float] = json.loads(container.run_at(init, *command))
            return times

        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        found = in_turns(servers, rounds, crawl)
    for percent in (50, 95):
        shown = {
            name: [percentile(times, percent) for times in found[name]]
            for name in servers
        }
        print_row(f"cloud-init's requests, {percent} %", shown, "ms", digits=2)


if __name__ == "__main__":
    main()
