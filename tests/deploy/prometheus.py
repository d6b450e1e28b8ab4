"""A real Prometheus with the project's rules, scraping servers on this machine."""

import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass

from server.process import free_port
from tests.deploy import tools
from tests.deploy.manifests import rules_text


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression):
        """Return the samples of an instant query, as (labels, value)."""
        arguments = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{arguments}", timeout=10) as answer:
            data = json.load(answer)["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def wait_for(self, expression, timeout_s=60):
        """Wait until a query has samples, and return them."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if samples := self.query(expression):
                    return samples
            time.sleep(0.5)
        raise AssertionError(f"no samples of {expression} after {timeout_s} s")


@contextlib.contextmanager
def watching(servers, folder):
    """Scrape servers and evaluate the rules every second, as if the servers were pods of the namespace cigpose."""
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "cigpose", "pod": f"pod-{number}"}}
        for number, port in enumerate(servers)
    ]
    rules = rules_text().replace("interval: 15s", "interval: 1s")  # windows of minutes need two samples, not minutes
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yaml"],
                "scrape_configs": [{"job_name": "cigpose/cigpose", "static_configs": targets}],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    command = [tools.need("prometheus"), f"--web.listen-address={address}", "--config.file=prometheus.yml"]
    command += ["--storage.tsdb.path=data", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(30)
