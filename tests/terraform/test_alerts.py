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

    def test_every_file_is_a_definition(self):
        for daily_run, trigger in (("timer", "wake-up"), ("cli", "cron")):
            made = plan(name="other-job", cloud_logs_crn=CLOUD_LOGS_CRN, daily_run=daily_run).everything()
            definitions = {a: one for a, one in made.items() if a.startswith("ibm_logs_alert_definition")}
            files = sorted(file for file in ALERTS.glob("*.json") if file.name != "email-rules.json")
            self.assertEqual(len(definitions), len(files))
            for file in files:
                with self.subTest(daily_run=daily_run, file=file.name):
                    found = definitions[f'ibm_logs_alert_definition.alerts["{file.stem}"]']
                    text = file.read_text().replace('\\"sm-tls-sync\\"', '\\"other-job\\"').replace('\\"cron\\"', f'\\"{trigger}\\"')
                    wanted = json.loads(text)
                    wanted["name"] = wanted["name"].replace("sm-tls-sync", "other-job")
                    (webhook,) = found.pop("notification_group")[0]["webhooks"]
                    number = webhook.pop("integration")[0]["integration_id"]
                    self.assertEqual(repr(number), "<ibm_logs_outgoing_webhook.alerts[0].external_id>")
                    self.assertEqual(webhook, wanted["incidents_settings"])
                    self.assertEqual((found.pop("instance_id"), found.pop("region")), (CLOUD_LOGS, "eu-de"))
                    self.assertEqual(dict(found), blocks(wanted))

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


def mails(inputs):
    made = plan(**inputs).everything()
    return [one["name"] for address, one in made.items() if address.startswith("ibm_en_subscription_email")]
