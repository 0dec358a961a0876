"""Tests of `devlxd.etcd`."""
