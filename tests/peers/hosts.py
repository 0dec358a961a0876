"""The text of ``/proc/PID/cgroup`` on each kind of host.

Each text is a template with ``{cgroup}`` in the place of a cgroup that the runtime
has created. The hierarchies, their order, and those in which the runtime has no
cgroup are as seen on a real host. The tests insert paths as current runtimes create
them.
"""

from __future__ import annotations

#: cgroup v2, on a host of LXD: https://github.com/liske/needrestart/issues/238.
V2 = "0::{cgroup}\n"

#: A hybrid host: all controllers on v1, and v2 without any. This is the host on
#: which the integration tests were written, with LXC 5.
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

#: cgroup v1, on Debian 8 with Linux 4.4:
#: https://github.com/systemd/systemd/issues/4079. In systemd's hierarchy the
#: container has no cgroup of its own.
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
