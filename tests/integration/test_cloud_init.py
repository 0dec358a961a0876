"""Tests of devlxd with an unchanged cloud-init in a guest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import ProcessTestCase
from tests.integration.servers import DevLXD

#: The directory of cloud-init's Python modules. It does not have to be installed,
#: and preferably is not: it would configure this host at its next boot.
PACKAGES = os.environ.get("CLOUD_INIT", "/usr/lib/python3/dist-packages")

#: Finds and reads the data source with cloud-init's code, as at boot.
READ_DATA_SOURCE = """
import sys
sys.path.insert(0, "/run/cloud-init")
from cloudinit import helpers, util
from cloudinit.sources import DataSourceLXD

paths = helpers.Paths({"cloud_dir": "/tmp/cloud", "run_dir": "/tmp/run"})
source = DataSourceLXD.DataSourceLXD({}, None, paths)
assert source._get_data(), "no data"
print(util.json_dumps({
    "instance-id": source.get_instance_id(),
    "hostname": source.metadata["local-hostname"],
    "location": source.metadata.get("location"),
    "user-data": source.userdata_raw,
    "vendor-data": source.vendordata_raw,
    "network": source._network_config,
}))
"""


def missing_cloud_init() -> str | None:
    """Return what this host lacks to run cloud-init, or ``None``."""
    if not (Path(PACKAGES) / "cloudinit").is_dir():
        return "needs cloud-init (unpack Debian's, and set CLOUD_INIT to the directory)"
    return missing_requirement()


class CloudInitTests(ProcessTestCase):
    """The code of cloud-init in a real container."""

    skip = missing_cloud_init()

    def test_data_source(self) -> None:
        """cloud-init finds the socket and reads what the operator has configured."""
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        (home / "documents").mkdir()
        (home / "lxd").mkdir()
        # A copy, as guests may not be able to traverse the original directory.
        package = home / "cloudinit"
        shutil.copytree(Path(PACKAGES) / "cloudinit", package)
        binds = {
            home / "lxd": "dev/lxd",
            package: "run/cloud-init/cloudinit",
        }
        container = LXCContainer(unique_name("c"), home, 100_000, binds)
        network = {"version": 2, "ethernets": {"eth0": {"dhcp4": True}}}
        config = {
            "user.user-data": "#cloud-config\npackages: [curl]\n",
            "user.vendor-data": "#!/bin/sh\necho 'ä'\n",
            "user.network-config": json.dumps(network),
            "user.meta-data": "location: rack 7\n",
            "volatile.cloud-init.instance-id": "b2796b7a",
        }
        document = home / "documents" / f"{container.name}.json"
        document.write_text(json.dumps({"config": config}))
        devlxd = DevLXD(f"--containers={home}/documents", f"--listen={home}/lxd")
        self.addCleanup(devlxd.stop)
        container.start()
        self.addCleanup(container.stop)
        printed = container.run("python3", "-c", READ_DATA_SOURCE)
        self.assertEqual(
            json.loads(printed),
            {
                "instance-id": "b2796b7a",
                "hostname": container.name,
                "location": "rack 7",
                "user-data": config["user.user-data"],
                "vendor-data": config["user.vendor-data"],
                "network": network,
            },
        )
