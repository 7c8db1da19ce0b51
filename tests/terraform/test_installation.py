"""What the module makes, against installation.json: the table that the test of setup.sh looks at, too."""

import json
import re
import unittest

import fixture
from fixture import GROUP, JOB_PROJECT, OTHER_PROJECT, PROJECT, ROOT, SECRET, plan

TABLE = json.loads((fixture.HERE / "installation.json").read_text())
ONE_TARGET = f'[{{"secret_id":"{SECRET}","tls_secret":"shop-tls"}}]'
WORDS = {
    "name": "sm-tls-sync",
    "secrets_manager_id": fixture.SECRETS_MANAGER,
    "secrets_manager_crn": fixture.SECRETS_MANAGER_CRN,
    "secrets_manager_region": "eu-de",
    "event_notifications_id": fixture.EVENT_NOTIFICATIONS,
    "event_notifications_crn": fixture.EVENT_NOTIFICATIONS_CRN,
    "job_project_id": JOB_PROJECT,
    "job_project_crn": fixture.JOB_PROJECT_CRN,
    "project_id": PROJECT,
    "secret_group_id": GROUP,
    "profile_id": "<ibm_iam_trusted_profile.job.id>",
    "schedule": "17 3 * * *",
    "targets": ONE_TARGET,
}
REMARKS = ("made_by", "once_for_each", "roles_without_custom_role")


def expected(*path, **words):
    """A part of the table, its words in braces filled in, without its remarks."""

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items() if key not in REMARKS}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return re.sub(r"\{(\w+)\}", lambda word: {**WORDS, **words}[word[1]], value) if isinstance(value, str) else value

    part = TABLE
    for step in path:
        part = part[step]
    return filled(part)


# words of the table -> attributes of the provider, where they differ
WORDS_OF_PROVIDER = {
    **{f"{side}_service_instance": f"{side}_resource_instance_id" for side in ("source", "target")},
    "service_name": "service", "service_instance": "resource_instance_id",
}


def told(instance, table):
    """The attributes of an instance that the table tells of, in its words."""
    return {word: instance[WORDS_OF_PROVIDER.get(word, word)] for word in table}


class Made:
    """The plan, in the words of the table."""

    def __init__(self, **inputs):
        self.plan = plan(**inputs)
        self.all = self.plan.everything()

    def of(self, kind):
        return [instance for address, instance in self.all.items() if address.startswith(kind + ".")]

    def named(self, name, *kinds):
        (found,) = (one for kind in kinds for one in self.of(kind) if one["name"] == name)
        return found

    def policies(self):
        words = {attribute: word for word, attribute in WORDS_OF_PROVIDER.items()}
        return [
            {"roles": one["roles"], **{words.get(key, key): value for key, value in one["resources"][0].items()}}
            for one in self.of("ibm_iam_trusted_profile_policy")
        ]

    def profile(self):
        (profile,), (link,) = self.of("ibm_iam_trusted_profile"), self.of("ibm_iam_trusted_profile_link")
        links = [{"name": link["name"], "cr_type": link["cr_type"], **link["link"][0]}]
        return {"name": profile["name"], "links": links, "policies": self.policies()}

    def environment(self):
        """The configmap that the job reads as its environment."""
        found = self.named(expected("configmap", "name"), "ibm_code_engine_config_map")
        assert found["project_id"] == JOB_PROJECT
        return {key: str(value) for key, value in found["data"].items()}

    def mounted(self):
        (mount,) = self.of("ibm_code_engine_job")[0]["run_volume_mounts"]
        found = self.named(mount["reference"], "ibm_code_engine_config_map")
        assert (mount["type"], found["project_id"]) == ("config_map", JOB_PROJECT)
        return {"name": mount["reference"], "mount_path": mount["mount_path"], "keys": found["data"]}

    def topic(self, name):
        topic = self.named(name, "ibm_en_topic")
        (source,) = topic["sources"]
        return {"name": name, "source": source["id"], "rules": source["rules"]}

    def subscription(self, name):
        """Where a subscription leads from, and to."""
        found = self.named(name, "ibm_en_subscription_ce", "ibm_en_subscription_email")
        address = re.fullmatch(r"<(ibm_en_topic\..*)\.topic_id>", repr(found["topic_id"]))[1]
        ends = {"name": name, "topic_name": self.all[address]["name"]}
        if found["destination_id"] == "id-of-mail":
            return {**ends, "destination_type": "smtp_ibm"}
        assert repr(found["destination_id"]) == "<ibm_en_destination_ce.job.destination_id>"
        return {**ends, "destination_name": self.all["ibm_en_destination_ce.job"]["name"]}


class Installation(unittest.TestCase):
    maxDiff = None

    def test_the_whole(self):
        made = Made(register=True, schedule=WORDS["schedule"], alert_emails=["ops@example.com"])
        (registration,), (role,) = made.of("ibm_sm_en_registration"), made.of("ibm_iam_custom_role")
        (destination,), (timer,) = made.of("ibm_en_destination_ce"), made.of("ibm_en_ibmsource")
        (job,), authorizations = made.of("ibm_code_engine_job"), made.of("ibm_iam_authorization_policy")
        (params,) = destination["config"][0]["params"]
        mail = expected("mail", "topic")
        mail["rules"] = json.loads((ROOT / mail.pop("rules_file")).read_text())
        for found, path in [
            ([told(one, TABLE["authorizations"][0]) for one in authorizations], ["authorizations"]),
            (told(registration, TABLE["registration"]), ["registration"]),
            (told(role, TABLE["custom_role"]), ["custom_role"]),
            (made.profile(), ["profile"]),
            (told(job, TABLE["job"]), ["job"]),
            ({"name": destination["name"], "type": destination["type"], "params": params}, ["events", "destination"]),
            (made.topic("sm-tls-sync"), ["events", "topic"]),
            (made.subscription("sm-tls-sync"), ["events", "subscription"]),
            (made.subscription("sm-tls-sync-reconcile"), ["daily_run", "one_of", "timer", "subscription"]),
            (made.subscription("sm-tls-sync-alerts"), ["mail", "subscription"]),
        ]:
            with self.subTest(path):
                self.assertEqual(found, expected(*path))
        keys = expected("configmap", "and_one_of", "targets", "keys")
        self.assertEqual(made.environment(), {**expected("configmap", "always"), **keys})
        self.assertEqual(made.topic("sm-tls-sync-alerts"), mail)
        self.assertEqual(made.named("sm-tls-sync-alerts", "ibm_en_subscription_email")["attributes"][0]["invited"],
                         ["ops@example.com"])
        self.assertEqual((registration["instance_id"], registration["region"]), (fixture.SECRETS_MANAGER, "eu-de"))
        self.assertEqual(job["project_id"], JOB_PROJECT)
        rule = {"enabled": True, "event_schedule_filter": [{"expression": WORDS["schedule"]}]}
        self.assertEqual(made.topic("sm-tls-sync-reconcile"),
                         {"name": "sm-tls-sync-reconcile", "source": "id-of-the-timer", "rules": [rule]})
        self.assertEqual((timer["source_id"], timer["enabled"]), ("id-of-the-timer", True))
        for resource in [*made.of("ibm_iam_trusted_profile_link"), *made.of("ibm_iam_trusted_profile_policy")]:
            owner = resource.get("iam_id") or resource["profile_id"]
            self.assertIn("<ibm_iam_trusted_profile.job.", repr(owner))
        kinds = {address.split(".")[0] for address in made.all}
        self.assertEqual(kinds & {"ibm_logs_alert_definition", "ibm_logs_outgoing_webhook"}, set())

    def test_what_exists_or_is_not_asked_for_is_not_made(self):
        made = Made(existing_authorizations=["code-engine"], existing_role="Writer", daily_run="cli")
        listed = """
            ibm_code_engine_config_map.environment ibm_code_engine_job.job ibm_en_destination_ce.job
            ibm_en_subscription_ce.rotations ibm_en_topic.rotations ibm_iam_trusted_profile.job
            ibm_iam_trusted_profile_link.job ibm_iam_trusted_profile_policy.code_engine
            ibm_iam_trusted_profile_policy.secrets_manager terraform_data.alert_emails time_sleep.authorizations"""
        self.assertEqual(sorted(address.split("[")[0] for address in made.all), listed.split())
        roles = [policy["roles"] for policy in made.policies() if policy["service_name"] == "codeengine"]
        self.assertEqual(roles, [TABLE["profile"]["policies"][1]["roles_without_custom_role"]])

    def test_a_policy_for_each_secret_group_and_project(self):
        group = "8e27c4d1-5b90-4f6a-a3d8-17c06e92b54f"
        targets = [
            {"secret_id": SECRET, "tls_secret": "shop-tls"},
            {"secret_id": SECRET, "tls_secret": "blog-tls"},
            {"secret_id": SECRET, "tls_secret": "shop-tls", "project_id": OTHER_PROJECT},
        ]
        made = Made(secret_group_ids=[GROUP, group], targets=targets)
        reader, updater = expected("profile", "policies")
        others = {**reader, "resource": group}, {**updater, "service_instance": OTHER_PROJECT}
        self.assertEqual(made.policies(), [reader, others[0], updater, others[1]])

    def test_all_that_a_target_says(self):
        target = {**json.loads(ONE_TARGET)[0], "project_id": OTHER_PROJECT, "region": "us-south",
                  "restart_apps": ["auto", "shop"], "hold": False}
        environment = Made(targets=[target], environment={"PROBE": "require"}).environment()
        self.assertEqual(json.loads(environment["TARGETS"]), [target])
        self.assertEqual(environment["PROBE"], "require")

    def test_many_targets_are_mounted(self):
        table = TABLE["configmap"]["and_one_of"]["many_targets"]
        size = len(ONE_TARGET) - 2 + len("-0000,")
        for more, is_mounted in ((0, False), (1, True)):
            number = (table["more_than_bytes"] - 1) // size + more
            targets = [{"secret_id": SECRET, "tls_secret": f"shop-tls-{n:04}"} for n in range(number)]
            written = json.dumps(targets, separators=(",", ":"))
            self.assertEqual(len(written) > table["more_than_bytes"], is_mounted)
            made = Made(targets=targets)
            keys = table["keys"] if is_mounted else {"TARGETS": written}
            self.assertEqual(made.environment(), {**expected("configmap", "always"), **keys})
            if is_mounted:
                path = ("configmap", "and_one_of", "many_targets", "mounted_configmap")
                self.assertEqual(made.mounted(), expected(*path, targets=written))
            else:
                self.assertEqual(made.of("ibm_code_engine_job")[0]["run_volume_mounts"], None)

    def test_a_longer_deadline_takes_the_job_along(self):
        (job,) = Made(environment={"DEADLINE": "600"}).of("ibm_code_engine_job")
        self.assertEqual(job["scale_max_execution_time"], (job["scale_retry_limit"] + 1) * 600 + 60)

    def test_daily_run_by_the_command(self):
        made = Made(schedule=WORDS["schedule"], daily_run="cli")
        command = made.plan.output("cron_command").split(" && ")[-1]
        self.assertTrue(command.startswith("ibmcloud ce subscription cron create "))
        for key, value in expected("daily_run", "one_of", "cron").items():
            text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value
            self.assertIn(f"--{key.replace('_', '-')} {text}", command.replace("'", ""))
        self.assertIsNone(Made().plan.output("cron_command"))

    def test_a_time_of_the_day_for_each_project(self):
        schedules = {plan(job_project_id=id).output("schedule") for id in (PROJECT, JOB_PROJECT, OTHER_PROJECT)}
        self.assertEqual(len(schedules), 3)
        for schedule in schedules:
            self.assertRegex(schedule, r"^[1-5]?[0-9] [1-5] \* \* \*$")
