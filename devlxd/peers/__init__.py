"""The identification of callers: connection -> peer -> container, user and run.

`peer_sources` asks the kernel for the process that made a connection.
`identifier` finds its container:

* by its cgroup (`cgroup_claims`, with the names of `runtimes`),
* by the init of its pid namespace (`init_identifier`), which is examined once for
  each run of a container (`runs`).

The identification reports its checks to `checks`, which explains them to operators.

`processes` reads ``/proc``, `cgroups` and `id_maps` know the formats of its files.
This package does not decide what a caller may do: `devlxd.guestapi` does.
"""
