"""Tests of the metrics and the alerts with a real Prometheus."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.integration.lxc import missing_requirement
from tests.integration.processes import (
    TIMEOUT,
    ProcessTestCase,
    run,
    start,
    wait_until,
)
from tests.integration.servers import DevLXD, operators_address

PACKAGING = Path(__file__).parents[2] / "packaging" / "prometheus"

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: devlxd
    static_configs: [{{targets: ["{target}"]}}]
"""


class PrometheusTests(ProcessTestCase):
    """devlxd, scraped by Debian's Prometheus."""

    skip = missing_requirement({"prometheus": "prometheus", "promtool": "prometheus"})

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="devlxd-prometheus-"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "containers").mkdir()
        self.socket = self.directory / "guests" / "sock"
        self.devlxd = DevLXD(
            f"--containers={self.directory}/containers",
            f"--listen={self.socket.parent}",
            "--admin=tcp:0",
        )
        self.addCleanup(self.devlxd.stop)
        self.address = operators_address(self.devlxd)

    def ask(self) -> None:
        """Ask as a process of the host, which is in no container."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(self.socket))
            connection.sendall(b"GET /1.0 HTTP/1.0\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(4096), b""))
        self.assertTrue(received.startswith(b"HTTP/1.0 500 "), received)

    def test_promtool(self) -> None:
        """promtool has no complaint about the metrics, and the rules do what they say.

        The metrics are checked in both formats.
        """
        self.ask()
        accepts = ("text/plain", "application/openmetrics-text;version=1.0.0")
        for accept in accepts:
            header = f"Accept: {accept}"
            metrics = run("curl", "-s", "-H", header, f"{self.address}/metrics")
            if accept == "text/plain":
                self.assertEqual(run("promtool", "check", "metrics", stdin=metrics), "")
            self.assertIn('devlxd_requests_total{code="500",dialect=', metrics)
        run("promtool", "check", "rules", str(PACKAGING / "devlxd.rules.yml"))
        run("promtool", "test", "rules", str(PACKAGING / "devlxd.rules.test.yml"))

    def test_alert(self) -> None:
        """An alert fires once processes of no container have asked many times."""
        query = self.start_prometheus()
        wait_until(lambda: query("query?query=up")["result"], "a first scrape")
        for _ in range(30):
            self.ask()
        alert = wait_until(
            lambda: next(iter(query("alerts")["alerts"]), None), "an alert"
        )
        self.assertEqual(alert["labels"]["alertname"], "DevlxdUnknownProcesses")
        self.assertEqual(alert["state"], "firing")

    def start_prometheus(self) -> Callable[[str], dict[str, list[dict[str, Any]]]]:
        """Start Prometheus; return a function that queries it."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = self.directory / "prometheus.yml"
        rules = PACKAGING / "devlxd.rules.yml"
        config.write_text(CONFIG.format(rules=rules, target=self.address))
        prometheus = start(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        )
        self.addCleanup(prometheus.wait, TIMEOUT)
        self.addCleanup(prometheus.kill)

        def query(path: str) -> dict[str, list[dict[str, Any]]]:
            try:
                address = f"http://127.0.0.1:{port}/api/v1/{path}"
                with urlopen(address, timeout=TIMEOUT) as response:
                    data: dict[str, list[dict[str, Any]]]
                    data = json.loads(response.read())["data"]
                    return data
            except URLError:
                # It does not listen yet.
                return {"alerts": [], "result": []}

        return query
