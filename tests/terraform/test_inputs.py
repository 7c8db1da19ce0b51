"""What the module refuses, with the words that people read."""

import unittest

from fixture import EVENT_NOTIFICATIONS_CRN, FOLDER, FOUND, INPUTS, OTHER_PROJECT, PROJECT, SCHEMA, SECRET, plan
from hcl import Plan

TARGET = INPUTS["targets"][0]
REFUSED = [
    ({"name": "Sync"}, "name: lower case letters"),
    ({"name": "a" * 33}, "at most 32"),
    ({"secrets_manager_crn": EVENT_NOTIFICATIONS_CRN}, "secrets_manager_crn: expected"),
    ({"event_notifications_crn": "my-instance"}, "event_notifications_crn: expected"),
    ({"cloud_logs_crn": EVENT_NOTIFICATIONS_CRN}, "cloud_logs_crn: expected"),
    ({"secret_group_ids": []}, "secret_group_ids: at least one"),
    ({"secret_group_ids": ["default", "prod"]}, "each is a UUID"),
    ({"project_id": "shop"}, "project_id: expected a UUID"),
    ({"job_project_id": "sync"}, "job_project_id: expected a UUID"),
    ({"targets": []}, "targets: at least one"),
    ({"targets": [{**TARGET, "secret_id": "shop-example-com"}]}, "each secret_id is a UUID"),
    ({"targets": [{**TARGET, "tls_secret": "Shop"}]}, "each tls_secret has lower case"),
    ({"targets": [{**TARGET, "project_id": "shop"}]}, "each project_id is a UUID"),
    ({"targets": [{**TARGET, "region": "Frankfurt"}]}, "each region is a region"),
    ({"targets": [{**TARGET, "restart_apps": ["shop,blog"]}]}, "restart_apps are names of apps"),
    ({"targets": [TARGET, {**TARGET, "project_id": PROJECT}]}, "two of them have the same TLS secret"),
    ({"environment": {"TARGETS": "[]"}}, "environment: SECRETS_MANAGER_URL"),
    ({"environment": {"DEADLINE": "2 minutes"}}, "DEADLINE is a number of seconds"),
    ({"secrets_manager_endpoint_type": "vpe"}, "public or private"),
    ({"existing_authorizations": ["logs"]}, "code-engine, cloud-logs"),
    ({"daily_run": "cron"}, "daily_run: timer or cli"),
    ({"schedule": "17 3 * *"}, "schedule: expected a minute"),
    ({"schedule": "17 3 * * MON"}, "schedule: expected a minute"),
    ({"alert_emails": ["ops"]}, "each is an e-mail address"),
]
ACCEPTED = [
    {},
    {"secret_group_ids": ["default"]},
    {"targets": [TARGET, {**TARGET, "project_id": OTHER_PROJECT}]},
    {"targets": [{**TARGET, "region": "us-south", "restart_apps": ["auto", "shop-2"], "hold": True}]},
    {"environment": {"DEADLINE": "600", "PROBE": "require"}},
    {"secrets_manager_endpoint_type": "private", "register": True},
    {"existing_authorizations": ["code-engine", "cloud-logs"]},
    {"schedule": "*/30 1-5 * * *"},
]


class Inputs(unittest.TestCase):
    def test_what_is_refused(self):
        for inputs, message in REFUSED:
            with self.subTest(inputs):
                (refusal,) = plan(**inputs).refusals()
                self.assertIn(message, refusal)

    def test_what_is_accepted(self):
        for inputs in ACCEPTED:
            with self.subTest(inputs):
                self.assertEqual(plan(**inputs).refusals(), [])

    def test_a_target_has_no_other_fields(self):
        with self.assertRaisesRegex(AssertionError, "restart"):
            plan(targets=[{"secret_id": SECRET, "tls_secret": "shop-tls", "restart": "auto"}])

    def test_a_secrets_manager_that_is_not_registered(self):
        nobody = {**FOUND, "data.ibm_en_sources.all": {"sources": []}}
        (refusal,) = Plan(FOLDER, SCHEMA, INPUTS, nobody).refusals()
        self.assertIn("Set register = true", refusal)
        self.assertEqual(Plan(FOLDER, SCHEMA, {**INPUTS, "register": True}, nobody).refusals(), [])
