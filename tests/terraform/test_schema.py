"""Every block and reference of the module and its examples, at the lowest and the newest provider version."""

import pathlib
import re
import shutil
import tempfile
import unittest

from check import problems
from fixture import EXAMPLES, MODULE, SCHEMA, SCHEMAS
from hcl import Folder

# file, text in it, what a slip makes of it, what must be found
SLIPS = [
    ("main.tf", "image_reference = var.image", "image_refrence = var.image", "no argument image_refrence"),
    ("main.tf", "image_reference = var.image", "image_refrence = var.image", "image_reference is missing"),
    ("main.tf", "mount_path = ", "path = ", "ibm_code_engine_job.job.run_volume_mounts: no argument path"),
    ("main.tf", "run_env_variables {", "run_env_variable {", "no block run_env_variable"),
    ("main.tf", 'data "ibm_code_engine_project"', 'data "ibm_code_engine_projekt"', "no such data"),
    ("main.tf", "var.image_secret", "var.image_secrets", "var.image_secrets is not there"),
    ("main.tf", "var.image_secret", "null", "var.image_secret is not used"),
    ("main.tf", "data       = { ", "etag       = { ", "ibm_code_engine_config_map.targets: no argument etag"),
    ("access.tf", "updater[0].display_name", "updater[0].displayname", "updater.displayname is not there"),
    ("access.tf", "cloud_logs[*].id", "cloud_log[*].id", "ibm_iam_authorization_policy.cloud_log.id is not there"),
    ("access.tf", "  link {", "  link {}\n  link {", "block link more than once"),
    ("access.tf", 'cr_type    = "CE"', "", "cr_type is missing"),
    ("access.tf", "  resources {", "  account_management = true\n  resources {", "resources and account_management and"),
    ("access.tf", 'source_service_name         = "logs"', "", "at least one of source_resource_group_id"),
    ("main.tf", 'run_mode            = "task"', 'run_mode            = "jobs"', "run_mode is not one of daemon,task"),
    ("events.tf", "store_notifications = false", "", "store_notifications is missing"),
    ("events.tf", "event_schedule_filter {", "schedule_filter {", "rules: no block schedule_filter"),
    ("events.tf", "source.id if source.type", "source.id if sauce.type", "sauce.type is not there"),
    ("events.tf", "[time_sleep.authorizations]", "[time_sleep.sleep]", "time_sleep.sleep is not there"),
    ("alerts.tf", "for topic in concat", "for topics in concat", "topic.name is not there"),
    ("examples/one-target/main.tf", "  image    ", "  picture    ", "no input picture"),
    ("examples/one-target/main.tf", "  image    ", "  picture    ", "input image is missing"),
    ("examples/one-target/main.tf", "sm_tls_sync.run_commands", "sm_tls_sync.commands", "commands is not there"),
]


class Schema(unittest.TestCase):
    def test_module_and_examples_use_what_the_schema_knows(self):
        for folder in [MODULE, *EXAMPLES]:
            for version, schema in SCHEMAS.items():
                with self.subTest(folder.name, version=version):
                    self.assertEqual(problems(Folder(folder), schema), [])

    def test_all_name_the_lowest_version_whose_schema_is_known(self):
        texts = {path: path.read_text() for path in [*MODULE.rglob("*.tf"), MODULE / "README.md"]}
        named = {path: re.findall(r'"IBM-Cloud/ibm"[^}]*?version += ">= ([0-9.]+),', text) for path, text in texts.items()}
        named = {path: versions for path, versions in named.items() if versions}
        self.assertEqual(len(named), 4, named)
        self.assertEqual({version for versions in named.values() for version in versions}, {min(SCHEMAS)})

    def test_slips_are_found(self):
        for file, good, bad, expected in SLIPS:
            with self.subTest(expected), tempfile.TemporaryDirectory() as scratch:
                copy = pathlib.Path(scratch) / "terraform"
                shutil.copytree(MODULE, copy)
                text = (copy / file).read_text()
                self.assertIn(good, text)
                (copy / file).write_text(text.replace(good, bad, 1))
                found = problems(Folder((copy / file).parent), SCHEMA)
                self.assertTrue(any(expected in problem for problem in found), found)
