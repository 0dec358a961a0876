"""Three members of etcd in networks of their own, which can be cut off."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.etcd_members import EtcdMember
from tests.integration.processes import run

#: The programs that the tests need, and their Debian packages.
PROGRAMS = {"ip": "iproute2", "ss": "iproute2", "nft": "nftables"}


class EtcdNetworks:
    """Networks for the members of a cluster, one each, and a bridge that joins them.

    Nothing else is in these networks: their addresses and ports are always free.

    :param word: begins the names of the networks on this host.
    :param count: the number of members.
    """

    PEERS_PORT = 2380

    def __init__(self, word: str, count: int) -> None:
        self._bridge = f"{word}-b"
        self._names = [f"{word}-{number}" for number in range(1, count + 1)]

    def create(self) -> None:
        """Create the networks."""
        run("ip", "netns", "add", self._bridge)
        self._ip(self._bridge, "link add bridge type bridge")
        self._ip(self._bridge, "link set bridge up")
        for number, name in enumerate(self._names, 1):
            run("ip", "netns", "add", name)
            self._ip(
                self._bridge,
                f"link add member{number} type veth peer name eth0 netns {name}",
            )
            self._ip(self._bridge, f"link set member{number} master bridge up")
            self._ip(name, f"address add {self._address(number)}/24 dev eth0")
            self._ip(name, "link set eth0 up")
            self._ip(name, "link set lo up")

    def remove(self) -> None:
        """Remove the networks that exist."""
        there = run("ip", "netns", "list").split()
        for name in (*self._names, self._bridge):
            if name in there:
                run("ip", "netns", "delete", name)

    def _ip(self, name: str, command: str) -> None:
        run("ip", "-netns", name, *command.split())

    def _address(self, number: int) -> str:
        return f"10.0.0.{number}"

    def url(self, number: int) -> str:
        """Return the address for its peers of a member, counted from 1."""
        return f"http://{self._address(number)}:{self.PEERS_PORT}"

    def inside(self, number: int) -> list[str]:
        """Return the command that runs another one in the network of a member."""
        return ["ip", "netns", "exec", self._names[number - 1]]

    def cut_off(self, number: int) -> None:
        """Drop every packet between a member and the others."""
        rules = "table inet cut {\n" + "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; policy drop; }}\n"
            for hook in ("input", "output")
        )
        run(*self.inside(number), "nft", "-f", "-", stdin=rules + "}")

    def join(self, number: int) -> None:
        """Undo `cut_off`."""
        run(*self.inside(number), "nft", "delete", "table", "inet", "cut")


class EtcdCluster:
    """Three members.

    :param home: the directory for theirs.
    :param networks: three networks.
    """

    SIZE = 3

    def __init__(self, home: Path, networks: EtcdNetworks) -> None:
        self._networks = networks
        numbers = range(1, self.SIZE + 1)
        peers = {f"n{number}": networks.url(number) for number in numbers}
        self.members = [
            EtcdMember(
                home,
                "--heartbeat-interval=50",
                "--election-timeout=500",
                name=f"n{number}",
                peers=peers,
                listen_peers=networks.url(number),
                prefix=networks.inside(number),
            )
            for number in numbers
        ]

    def start(self) -> None:
        """Start all members, and wait until each answers."""
        for member in self.members:
            member.start()
        for member in self.members:
            member.wait()

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End all members by a signal."""
        for member in self.members:
            member.stop(number)

    def cut_off(self, member: EtcdMember) -> None:
        """Cut a member off from the others; its clients still reach it."""
        self._networks.cut_off(self.members.index(member) + 1)

    def join(self, member: EtcdMember) -> None:
        """Undo `cut_off`."""
        self._networks.join(self.members.index(member) + 1)

    def used_by(self, pid: int) -> EtcdMember | None:
        """Return the member to which a process is connected; ``None`` without one."""
        ends = _socket_peers()
        for path in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = str(path.readlink())
            except FileNotFoundError:
                continue
            served = ends.get(name.removeprefix("socket:[").removesuffix("]"))
            for member in self.members:
                if served == member.socket.name:
                    return member
        return None


def _socket_peers() -> dict[str, str]:
    """Return the path of the server, by the inode of the client's end of a socket."""
    fields = [line.split() for line in run("ss", "-xHn").splitlines()]
    return {line[7]: line[4] for line in fields if len(line) > 7}
