"""The text of ``/proc/PID/cgroup`` on real hosts.

Each is a template: ``{cgroup}`` is the path that the runtime made.
"""

from __future__ import annotations

#: Debian 12, Ubuntu 22.04 and later: cgroup v2 alone.
V2 = "0::{cgroup}\n"

#: A host with each controller on v1, and v2 beside them without any.
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

#: Debian 10: v1, with systemd's own hierarchy, and v2 unused.
V1 = """\
11:pids:{cgroup}
10:net_cls,net_prio:{cgroup}
9:blkio:{cgroup}
8:perf_event:{cgroup}
7:freezer:{cgroup}
6:cpu,cpuacct:{cgroup}
5:cpuset:{cgroup}
4:memory:{cgroup}
3:rdma:/
2:devices:{cgroup}
1:name=systemd:{cgroup}
"""

ALL = {"v2": V2, "hybrid": HYBRID, "v1": V1}
