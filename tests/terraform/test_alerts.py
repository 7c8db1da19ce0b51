"""The alerts of the module are those of scripts/alerts."""

import json
import unittest

from fixture import CLOUD_LOGS, CLOUD_LOGS_CRN, EVENT_NOTIFICATIONS, ROOT, plan

ALERTS = ROOT / "scripts" / "alerts"


def blocks(value):
    """An alert definition of the API in the words of the provider: an object is a block, once."""
    if isinstance(value, dict):
        return {key: [blocks(one)] if isinstance(one, dict) else blocks(one) for key, one in value.items()}
    return [blocks(one) for one in value] if isinstance(value, list) else value


class Alerts(unittest.TestCase):
    maxDiff = None

    def test_definitions(self):
        for daily_run, trigger in (("timer", "wake-up"), ("cli", "cron")):
            made = plan(name="other-job", cloud_logs_crn=CLOUD_LOGS_CRN, daily_run=daily_run).everything()
            for file in ("no-good-run", "run-failed", "expires-soon"):
                with self.subTest(daily_run=daily_run, file=file):
                    wanted = json.loads((ALERTS / f"{file}.json").read_text())
                    wanted = blocks(as_loaded(wanted, "other-job", trigger))
                    found = made[f"ibm_logs_alert_definition.{file.replace('-', '_')}[0]"]
                    (webhook,) = found["notification_group"][0]["webhooks"]
                    number = webhook["integration"][0].pop("integration_id")
                    self.assertEqual(repr(number), "<ibm_logs_outgoing_webhook.alerts[0].external_id>")
                    self.assertEqual({key: value for key, value in found.items() if key in wanted}, wanted)
                    self.assertEqual(found.keys() - wanted.keys(), {"instance_id", "region"})
                    self.assertEqual(found["instance_id"], CLOUD_LOGS)

    def test_the_way_to_event_notifications(self):
        made = plan(cloud_logs_crn=CLOUD_LOGS_CRN, existing_authorizations=["code-engine"]).everything()
        (authorization,) = (one for address, one in made.items() if "ibm_iam_authorization_policy" in address)
        self.assertEqual(authorization["source_resource_instance_id"], CLOUD_LOGS)
        self.assertEqual(authorization["target_resource_instance_id"], EVENT_NOTIFICATIONS)
        command = f'logs event-notifications "{",".join(authorization["roles"])}"'
        self.assertIn(command, (ALERTS / "README.md").read_text())
        (target,) = made["ibm_logs_outgoing_webhook.alerts[0]"]["ibm_event_notifications"]
        self.assertEqual(target["event_notifications_instance_id"], EVENT_NOTIFICATIONS)
        self.assertEqual(target["region_id"], "eu-es")

    def test_mail_about_logs_needs_both(self):
        both = {"alert_emails": ["ops@example.com"], "cloud_logs_crn": CLOUD_LOGS_CRN}
        self.assertEqual(mails(both), ["sm-tls-sync-alerts", "sm-tls-sync-log-alerts"])
        self.assertEqual(mails({"alert_emails": ["ops@example.com"]}), ["sm-tls-sync-alerts"])
        self.assertEqual(mails({"cloud_logs_crn": CLOUD_LOGS_CRN}), [])


def as_loaded(definition, name, trigger):
    """What scripts/alerts/logs makes of a file, with the word for the trigger."""
    kind = "logs_threshold" if "logs_threshold" in definition else "logs_immediate"
    filter = definition[kind]["logs_filter"]["simple_filter"]
    filter["lucene_query"] = filter["lucene_query"].replace("sm-tls-sync", name).replace('"cron"', f'"{trigger}"')
    definition["name"] = definition["name"].replace("sm-tls-sync", name)
    webhook = {"integration": {}, **definition["incidents_settings"]}
    return {**definition, "notification_group": {"group_by_keys": [], "webhooks": [webhook]}}


def mails(inputs):
    made = plan(**inputs).everything()
    return [one["name"] for address, one in made.items() if address.startswith("ibm_en_subscription_email")]


if __name__ == "__main__":
    unittest.main()
