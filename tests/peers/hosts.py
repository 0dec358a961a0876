"""The text of ``/proc/PID/cgroup`` on hosts of each kind.

Each is a template: ``{cgroup}`` stands where the path is that the runtime made.
Which hierarchies there are, in which order and which of them the runtime has
nothing to do with, is as it was seen on a host; the path is put in by the
tests, as runtimes of today make it.
"""

from __future__ import annotations

#: cgroup v2 alone, as LXD has it on such a host: liske/needrestart #238.
V2 = "0::{cgroup}\n"

#: A host with each controller on v1, and v2 beside them without any: the one
#: that the integration tests were written on, with LXC 5.
HYBRID = """\
9:name=systemd:{cgroup}
8:pids:{cgroup}
7:blkio:{cgroup}
6:freezer:{cgroup}
5:devices:{cgroup}
4:memory:{cgroup}
3:cpuset:{cgroup}
2:cpuacct:{cgroup}
1:cpu:{cgroup}
0::{cgroup}
"""

#: cgroup v1 alone: Debian 8 with Linux 4.4, systemd/systemd #4079. There the
#: container is not in a cgroup of its own in systemd's hierarchy.
V1 = """\
11:debug:{cgroup}
10:pids:{cgroup}
9:perf_event:{cgroup}
8:net_cls,net_prio:{cgroup}
7:freezer:{cgroup}
6:devices:{cgroup}
5:memory:{cgroup}
4:blkio:{cgroup}
3:cpu,cpuacct:{cgroup}
2:cpuset:{cgroup}
1:name=systemd:/user.slice
"""

ALL = {"v2": V2, "hybrid": HYBRID, "v1": V1}
