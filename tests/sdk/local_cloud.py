"""`local-cloud serve` as a child process: its variables, its world, its control API."""

import json
import os
import pathlib
import shlex
import subprocess
import urllib.request


class LocalCloud:
    """Runs until `stop`. `SM_TLS_SYNC_HOSTILE` is the seed of a hostile one."""

    def __init__(self, program: pathlib.Path, *arguments: object) -> None:
        command = [program, "serve", *arguments]
        if seed := os.environ.get("SM_TLS_SYNC_HOSTILE"):
            command += ["--hostile", seed]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.variables: dict[str, str] = {}
        # the control URL is the last line; everything listens before the first
        while "LOCAL_CLOUD_CONTROL_URL" not in self.variables:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"local-cloud ended with status {self.process.wait()} before it listened")
            name, value = shlex.split(line)[1].split("=", 1)
            self.variables[name] = value
        self.world = self.control("GET", "/world")
        self.project = self.world["project_id"]

    def stop(self) -> None:
        """Ends the child; its files go with it."""
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def control(self, method: str, path: str, body: object = None) -> object:
        """One call of the control API."""
        request = urllib.request.Request(
            self.variables["LOCAL_CLOUD_CONTROL_URL"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def issue(self, **spec: object) -> str:
        """A new certificate secret; returns its id."""
        return self.control("POST", "/secrets", spec)["id"]
