"""README.md: its tables are those of variables.tf and outputs.tf, its example and commands are right."""

import json
import pathlib
import re
import shutil
import tempfile
import unittest

from check import problems
from fixture import FOLDER, INPUTS, MODULE, ROOT, SCHEMA, plan
from hcl import Folder

README = (MODULE / "README.md").read_text()
NOTHING = plan(**INPUTS)


def described(block):
    return NOTHING.value(block.arguments["description"], {})


def inputs():
    """Rows of the table of inputs; required ones have no default."""
    for name, block in FOLDER.variables.items():
        node = block.arguments.get("default")
        default = "required" if node is None else f"`{json.dumps(NOTHING.value(node, {}))}`"
        # the fields of an object are in the description
        kind = re.sub(r"object\(.*\)\)", "object)", block.arguments["type"].serialize().strip("${}"))
        yield [f"`{name}`", described(block), f"`{kind}`", default]


def outputs():
    for name, block in FOLDER.outputs.items():
        yield [f"`{name}`", described(block)]


def table(heading):
    """The rows of the first table under a heading."""
    rows = README.split(f"\n## {heading}\n")[1].split("\n## ")[0].strip().split("\n\n")[0].splitlines()
    return [re.split(r" \| ", row.strip("| ")) for row in rows[2:]]


class Docs(unittest.TestCase):
    maxDiff = None

    def test_tables(self):
        self.assertEqual(table("Inputs"), list(inputs()))
        self.assertEqual(table("Outputs"), list(outputs()))

    def test_every_resource_is_listed(self):
        made = {address.split(".")[0] for address in FOLDER.resources} - {"time_sleep", "terraform_data"}
        self.assertEqual(set(re.findall(r"`(ibm_\w+)`", README.split("## Before you start")[0])), made)

    def test_the_example_is_complete(self):
        (example,) = re.findall(r"```hcl\n(.*?)```", README, re.DOTALL)
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            shutil.copytree(MODULE, scratch / "sm-tls-sync" / "terraform")
            (scratch / "main.tf").write_text(example)
            self.assertEqual(problems(Folder(scratch), SCHEMA), [])

    def test_addresses_in_commands_exist(self):
        for kind, name in re.findall(r"module\.sm_tls_sync\.(ibm_\w+)\.(\w+)", README):
            self.assertIn(f"{kind}.{name}", FOLDER.resources)

    def test_commands_set_variables_that_the_job_knows(self):
        sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
        commands = plan().output("run_commands")
        self.assertEqual(set(commands), {"check", "dry_run", "run"})
        self.assertIn("--job sm-tls-sync --env OUTPUT=text", commands.pop("run"))
        for kind, command in commands.items():
            self.assertIn(f"--env {kind.upper()}=true", command)
            self.assertIn(f'"{kind.upper()}"', sources)
