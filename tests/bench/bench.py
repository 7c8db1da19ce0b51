"""Measures the job side by side with its rivals against the local cloud; see scripts/bench."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import paper
from local_cloud import LocalCloud

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
JOB, SHELL, PYTHON = paper.CLIENTS
SECRET_ROUTE = "/v2/projects/{project_id}/secrets/{name}"
# milliseconds that the real services were seen to take
IAM, READ_CERTIFICATE, READ_DEPLOYED, WRITE = 150, 100, 80, 200
DELAYS = [
    {"service": "iam", "kind": {"delay": IAM}},
    {"service": "secrets_manager", "kind": {"delay": READ_CERTIFICATE}},
    {"route": f"GET {SECRET_ROUTE}", "kind": {"delay": READ_DEPLOYED}},
    {"route": f"PUT {SECRET_ROUTE}", "kind": {"delay": WRITE}},
]
# the calls that the job makes side by side
WIDTH = 8


@dataclasses.dataclass(frozen=True)
class Setting:
    """How far away the services are, and how slow."""

    rtt: int = 0
    delays: bool = False

    def __str__(self) -> str:
        parts = (["server delays"] if self.delays else []) + ([f"{self.rtt} ms round trip"] if self.rtt else [])
        return ", ".join(parts) or "zero latency"


ZERO, SLOW = Setting(), Setting(delays=True)
DISTANT = [SLOW, Setting(20), Setting(80), Setting(20, True), Setting(80, True)]
# targets, setting, runs
PLAN = [
    (1, ZERO, 20),
    *((1, setting, 7) for setting in DISTANT),
    (10, ZERO, 7),
    (10, SLOW, 5),
    (100, ZERO, 5),
    (100, SLOW, 3),
    (1000, SLOW, 1),
    (3000, ZERO, 1),
]
# beyond this only the job is measured, from a file: a variable holds at most 128 KiB
LONGEST_LIST = 100
# secrets of one project (Code Engine limits)
IN_ONE_PROJECT = 100


class Relay:
    """The network between client and services; counts connections and bytes."""

    def __init__(self, program: pathlib.Path, rtt: int, urls: list[str]) -> None:
        addresses = [url.removeprefix("https://") for url in urls]
        command = [program, str(rtt), *addresses]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.urls = [f"https://127.0.0.1:{port}" for port in self.process.stdout.readline().split()]

    def count(self) -> dict[str, int]:
        """Connections and bytes since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Ends the child."""
        self.process.communicate()


class Bench:
    """One cloud with so many targets, and what runs against it."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        self.options = options
        self.cloud = LocalCloud(options.tools / "local-cloud")
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.file = pathlib.Path(self.folder.name, "measured")
        project = self.cloud.project
        self.targets = [{"secret_id": self.cloud.variables["SECRET_ID"], "tls_secret": "shop-tls", "project_id": project}]
        for number in range(1, count):
            if number % IN_ONE_PROJECT == 0:
                new = {"name": f"bench-{number}", "region": "eu-de"}
                project = self.cloud.control("POST", "/projects", new)["id"]
            secret = self.cloud.issue(names=[f"n{number}.example.com"])
            material = self.cloud.control("GET", f"/secrets/{secret}/material")
            body = {"tls_cert": material["certificate"], "tls_key": material["private_key"]}
            name = f"tls-{number}"
            self.cloud.control("PUT", f"/projects/{project}/tls_secrets/{name}", body)
            self.targets.append({"secret_id": secret, "tls_secret": name, "project_id": project})
        self.clients = paper.CLIENTS if count <= LONGEST_LIST else (JOB,)
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {**keep, **self.cloud.variables}
        self.environment["REQUESTS_CA_BUNDLE"] = self.cloud.variables["SSL_CERT_FILE"]
        if count <= LONGEST_LIST:
            self.environment["TARGETS"] = json.dumps(self.targets)
        else:
            listed = pathlib.Path(self.folder.name, "targets.json")
            listed.write_text(json.dumps(self.targets), encoding="utf-8")
            self.environment |= {"TARGETS_FILE": str(listed), "DEADLINE": "600"}
        for name in ("SECRET_ID", "TLS_SECRET_NAME", "LOCAL_CLOUD_CONTROL_URL"):
            del self.environment[name]
        self.environment["PROBE"] = "off"  # what is served is not what is measured
        python = [sys.executable, HERE / "rival.py"]
        self.commands = {JOB: [options.job], SHELL: [HERE / "rival.sh"], PYTHON: python}

    def stop(self) -> None:
        """Ends the cloud."""
        self.cloud.stop()
        self.folder.cleanup()

    @contextlib.contextmanager
    def under(self, setting: Setting, relayed: bool = False) -> Iterator[Relay | None]:
        """The services so far away and so slow; `relayed` counts even at no distance."""
        for fault in DELAYS if setting.delays else []:
            self.cloud.control("POST", "/faults", fault)
        relay, before = None, dict(self.environment)
        if setting.rtt or relayed:
            names = ["IAM_URL", "SECRETS_MANAGER_URL", "CODE_ENGINE_URL"]
            urls = [self.environment[name] for name in names]
            relay = Relay(self.options.tools / "relay", setting.rtt, urls)
            self.environment.update(zip(names, relay.urls, strict=True))
        try:
            yield relay
        finally:
            self.environment = before
            self.cloud.control("DELETE", "/faults")
            if relay:
                relay.stop()

    def rotate(self) -> None:
        """Every certificate is newer than what is deployed."""
        secrets = [target["secret_id"] for target in self.targets]
        self.cloud.control("POST", "/rotate", {"secret_ids": secrets, "quietly": True})

    def run(self, client: str) -> dict[str, float]:
        """Rotates, runs the client, makes sure that it replaced everything; what it took."""
        self.rotate()
        command = [self.options.tools / "measure", self.file, *self.commands[client]]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        measured = json.loads(self.file.read_text()) if ended.returncode == 0 else {}
        if measured.get("status") != 0:
            raise RuntimeError(f"{client} ended with {measured.get('status')}:\n{ended.stdout}{ended.stderr}")
        self.require_replaced(client)
        wall, cpu, memory = (measured[name] for name in ("wall_us", "cpu_us", "max_rss_kib"))
        return {"wall": wall / 1000, "cpu": cpu / 1000, "memory": memory / 1024}

    def floor(self) -> float:
        """Milliseconds of the four dependent calls alone."""
        self.rotate()
        command = [self.options.tools / "floor"]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        self.require_replaced("floor")
        return int(ended.stdout) / 1000

    def require_replaced(self, client: str) -> None:
        """Each TLS secret holds the key and the chain of its rotated certificate."""
        for target in self.targets:
            name = target["tls_secret"]
            material = self.cloud.control("GET", f"/secrets/{target['secret_id']}/material")
            deployed = self.cloud.control("GET", f"/projects/{target['project_id']}/tls_secrets/{name}")
            same_key = deployed["tls_key"].strip() == material["private_key"].strip()
            if not same_key or deployed["tls_cert"].strip() != material["certificate"].strip():
                raise RuntimeError(f"{client} did not replace {name}")

    def count(self, client: str) -> dict[str, int]:
        """Requests, connections and bytes of one run."""
        with self.under(ZERO, relayed=True) as relay:
            self.cloud.control("DELETE", "/journal")
            relay.count()
            self.run(client)
            return {"requests": len(self.cloud.control("GET", "/journal")), **relay.count()}


def measure(options: argparse.Namespace) -> paper.Results:
    """Everything of the plan, the clients side by side in turns."""
    results = paper.Results()
    for count in sorted({count for count, _, _ in PLAN}):
        bench = Bench(options, count)
        try:
            for client in bench.clients:
                results.traffic[count, client] = bench.count(client)  # and warms up
            for targets, setting, runs in PLAN:
                if targets != count:
                    continue
                print(f"targets: {count}, {setting}: {runs} runs", file=sys.stderr)
                with bench.under(setting):
                    for _ in range(runs):
                        if count == 1:
                            results.floor.setdefault(str(setting), []).append(bench.floor())
                        for client in bench.clients:
                            results.samples.setdefault((count, str(setting), client), []).append(bench.run(client))
        finally:
            bench.stop()
    return results


def bars(results: paper.Results, binary: int) -> list[tuple[str, float, float, bool]]:
    """What must hold: text, measured, limit, whether it holds."""
    held = []

    def at_least(text: str, value: float, limit: float) -> None:
        held.append((f"{text} (at least)", value, limit, value >= limit))

    def at_most(text: str, value: float, limit: float) -> None:
        held.append((f"{text} (at most)", value, limit, value <= limit))

    def median(count: int, setting: Setting, client: str, what: str) -> float:
        return results.median(count, str(setting), client, what)

    job = median(1, ZERO, JOB, "wall")
    at_least("times as fast as Python, zero latency", median(1, ZERO, PYTHON, "wall") / job, 15)
    at_least("times as fast as bash, zero latency", median(1, ZERO, SHELL, "wall") / job, 1)
    memory = median(1, ZERO, JOB, "memory")
    at_least("times less memory than Python", median(1, ZERO, PYTHON, "memory") / memory, 9)
    for setting in DISTANT:
        wall, floor = median(1, setting, JOB, "wall"), statistics.median(results.floor[str(setting)])
        at_most(f"times the four calls, {setting}", wall / floor, 1.1)
        at_most(f"ms over the four calls, {setting}", wall - floor, 30)
    for count in (100, 1000):
        waiting = IAM + -(-count // WIDTH) * (READ_DEPLOYED + READ_CERTIFICATE + WRITE)
        what = f"times the waiting alone ({waiting:,} ms, {WIDTH} at a time), {count:,} targets, server delays"
        at_most(what, median(count, SLOW, JOB, "wall") / waiting, 1.1)
    at_most("MiB peak memory, one target", memory, 4.6)
    at_most("MiB peak memory, 1,000 targets", median(1000, SLOW, JOB, "memory"), 24)
    at_most("ms CPU time, one target", median(1, ZERO, JOB, "cpu"), 7)
    at_most("MB binary", binary / 1e6, 4.7)
    return held


def machine() -> str:
    """What it ran on; no names."""
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    shell = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return (
        f"{os.cpu_count()} cores ({models[0] if models else platform.machine()}), "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, curl {shell}"
    )


def image_size(version: str) -> int | None:
    """Bytes of the image that scripts/image made, if it did."""
    for engine in ("podman", "docker"):
        with contextlib.suppress(OSError, ValueError):
            command = [engine, "image", "inspect", "--format", "{{.Size}}", f"sm-tls-sync:{version}"]
            return int(subprocess.run(command, capture_output=True, text=True).stdout)
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=pathlib.Path, required=True)
    parser.add_argument("--tools", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        bench = Bench(options, 1)
        try:
            bench.floor()
            for client in paper.CLIENTS:
                bench.run(client)
                print(f"{client}: replaced")
        finally:
            bench.stop()
        return 0

    paper.require_place(ROOT)
    results = measure(options)
    binary = options.job.stat().st_size
    held = bars(results, binary)
    version = subprocess.run([options.job, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    about = paper.About(
        date=datetime.date.today().isoformat(),
        machine=machine(),
        binary=binary,
        image=image_size(version),
        plan=[(count, str(setting), runs) for count, setting, runs in PLAN],
        priced=str(Setting(20, True)),
        slow=str(SLOW),
        zero=str(ZERO),
    )
    text = paper.markdown(results, about, held)
    paper.publish(ROOT, text, results, about)
    print(text)
    missed = [line for line in held if not line[3]]
    for line in missed:
        print(f"scripts/bench: missed: {line[0]} {line[2]:g}, measured {line[1]:.2f}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
