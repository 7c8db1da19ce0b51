"""What the module makes, against installation.json: the table that the test of setup.sh looks at, too."""

import json
import re
import unittest

import fixture
from fixture import GROUP, JOB_PROJECT, OTHER_PROJECT, PROJECT, ROOT, SECRET, plan

TABLE = json.loads((fixture.HERE / "installation.json").read_text())
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
}


def expected(*path, **words):
    """A part of the table, its words in braces filled in, without its remarks."""
    part = TABLE
    for step in path:
        part = part[step]
    words = {**WORDS, **words}

    def filled(value):
        if isinstance(value, dict):
            remarks = ("made_by", "once_for_each", "roles_without_custom_role")
            return {key: filled(one) for key, one in value.items() if key not in remarks}
        if isinstance(value, list):
            return [filled(one) for one in value]
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda word: words[word[1]], value)
        return value

    return filled(part)


class Made:
    """The plan, in the words of the table."""

    def __init__(self, **inputs):
        self.plan = plan(**inputs)
        self.all = self.plan.everything()

    def of(self, kind):
        return [instance for address, instance in self.all.items() if address.startswith(kind + ".")]

    def authorizations(self):
        return [
            {
                "source_service": one["source_service_name"],
                "source_instance": one["source_resource_instance_id"],
                "target_service": one["target_service_name"],
                "target_instance": one["target_resource_instance_id"],
                "roles": one["roles"],
            }
            for one in self.of("ibm_iam_authorization_policy")
        ]

    def policies(self):
        names = {"service": "service", "resource_instance_id": "instance"}
        return [
            {"roles": one["roles"], **{names.get(key, key): value for key, value in one["resources"][0].items()}}
            for one in self.of("ibm_iam_trusted_profile_policy")
        ]

    def topic(self, name):
        (topic,) = (one for one in self.of("ibm_en_topic") if one["name"] == name)
        (source,) = topic["sources"]
        return topic, source

    def subscription(self, name):
        kinds = ("ibm_en_subscription_ce", "ibm_en_subscription_email")
        (subscription,) = (one for kind in kinds for one in self.of(kind) if one["name"] == name)
        return subscription


class Installation(unittest.TestCase):
    maxDiff = None

    def test_authorizations_and_registration(self):
        made = Made(register=True)
        self.assertEqual(made.authorizations(), expected("authorizations"))
        (registration,) = made.of("ibm_sm_en_registration")
        self.assertEqual(
            {
                "secrets_manager": registration["instance_id"],
                "event_notifications_crn": registration["event_notifications_instance_crn"],
                "source_name": registration["event_notifications_source_name"],
            },
            expected("registration"),
        )
        self.assertEqual(registration["region"], "eu-de")

    def test_what_exists_is_left_alone(self):
        made = Made(existing_authorizations=["code-engine"], existing_role="Writer")
        self.assertEqual(made.authorizations(), [])
        self.assertEqual(made.of("ibm_sm_en_registration"), [])
        self.assertEqual(made.of("ibm_iam_custom_role"), [])
        roles = [policy["roles"] for policy in made.policies() if policy["service"] == "codeengine"]
        self.assertEqual(roles, [TABLE["profile"]["policies"][1]["roles_without_custom_role"]])

    def test_role(self):
        (role,) = Made().of("ibm_iam_custom_role")
        self.assertEqual({key: role[key] for key in TABLE["custom_role"]}, expected("custom_role"))

    def test_profile_with_link_and_policies(self):
        made = Made()
        (profile,) = made.of("ibm_iam_trusted_profile")
        (link,) = made.of("ibm_iam_trusted_profile_link")
        links = [{"name": link["name"], "cr_type": link["cr_type"], **link["link"][0]}]
        self.assertEqual(profile["name"], expected("profile", "name"))
        self.assertEqual(links, expected("profile", "links"))
        self.assertEqual(made.policies(), expected("profile", "policies"))
        for resource in [link, *made.of("ibm_iam_trusted_profile_policy")]:
            owner = resource["profile_id"] or resource["iam_id"]
            self.assertIn("<ibm_iam_trusted_profile.job.", repr(owner))

    def test_a_policy_for_each_secret_group_and_project(self):
        group = "8e27c4d1-5b90-4f6a-a3d8-17c06e92b54f"
        targets = [
            {"secret_id": SECRET, "tls_secret": "shop-tls"},
            {"secret_id": SECRET, "tls_secret": "blog-tls"},
            {"secret_id": SECRET, "tls_secret": "shop-tls", "project_id": OTHER_PROJECT},
        ]
        made = Made(secret_group_ids=[GROUP, group], targets=targets)
        reader, updater = expected("profile", "policies")
        self.assertEqual(
            made.policies(),
            [reader, {**reader, "resource": group}, updater, {**updater, "instance": OTHER_PROJECT}],
        )

    def environment(self, made):
        """The job's configmap, after a look at who refers to it."""
        (job,) = made.of("ibm_code_engine_job")
        name = expected("job", "environment_from_configmap")
        self.assertEqual(job["run_env_variables"], [{"type": "config_map_full_reference", "reference": name}])
        (found,) = (one for one in made.of("ibm_code_engine_config_map") if one["name"] == name)
        self.assertEqual((name, found["project_id"]), (expected("configmap", "name"), JOB_PROJECT))
        return {key: str(value) for key, value in found["data"].items()}

    def test_configmap(self):
        targets = f'[{{"secret_id":"{SECRET}","tls_secret":"shop-tls"}}]'
        self.assertEqual(
            self.environment(Made()),
            {
                **expected("configmap", "always"),
                **expected("configmap", "and_one_of", "targets", "keys", targets=targets),
            },
        )

    def test_all_that_a_target_says(self):
        target = {
            "secret_id": SECRET,
            "tls_secret": "shop-tls",
            "project_id": OTHER_PROJECT,
            "region": "us-south",
            "restart_apps": ["auto", "shop"],
            "hold": False,
        }
        made = Made(targets=[target], environment={"PROBE": "require"})
        environment = self.environment(made)
        self.assertEqual(json.loads(environment["TARGETS"]), [target])
        self.assertEqual(environment["PROBE"], "require")

    def test_many_targets_are_mounted(self):
        table = TABLE["configmap"]["and_one_of"]["many_targets"]
        size = len(f'{{"secret_id":"{SECRET}","tls_secret":"shop-0000"}},')
        for more, mounted in ((0, False), (1, True)):
            number = (table["more_than_bytes"] - 1) // size + more
            targets = [{"secret_id": SECRET, "tls_secret": f"shop-{n:04}"} for n in range(number)]
            written = json.dumps(targets, separators=(",", ":"))
            self.assertEqual(len(written) > table["more_than_bytes"], mounted)
            made = Made(targets=targets)
            (job,) = made.of("ibm_code_engine_job")
            always = expected("configmap", "always")
            if not mounted:
                self.assertEqual(self.environment(made), {**always, "TARGETS": written})
                self.assertEqual(job["run_volume_mounts"], None)
                continue
            self.assertEqual(self.environment(made), {**always, **table["keys"]})
            wanted = expected("configmap", "and_one_of", "many_targets", "mounted_configmap", targets=written)
            mount = {"type": "config_map", "reference": wanted["name"], "mount_path": wanted["mount_path"]}
            self.assertEqual(job["run_volume_mounts"], [mount])
            (found,) = (one for one in made.of("ibm_code_engine_config_map") if one["name"] == wanted["name"])
            self.assertEqual((found["data"], found["project_id"]), (wanted["keys"], JOB_PROJECT))

    def test_job(self):
        (job,) = Made().of("ibm_code_engine_job")
        self.assertEqual(
            {
                "name": job["name"],
                "environment_from_configmap": job["run_env_variables"][0]["reference"],
                "trusted_profiles_enabled": job["run_compute_resource_token_enabled"],
                "service_account": job["run_service_account"],
                "mode": job["run_mode"],
                "array_size": len(job["scale_array_spec"].split(",")),
                "retry_limit": job["scale_retry_limit"],
                "max_execution_time": job["scale_max_execution_time"],
                "cpu": job["scale_cpu_limit"],
                "memory": job["scale_memory_limit"],
                "ephemeral_storage": job["scale_ephemeral_storage_limit"],
            },
            expected("job"),
        )
        self.assertEqual(job["project_id"], JOB_PROJECT)

    def test_a_longer_deadline_takes_the_job_along(self):
        (job,) = Made(environment={"DEADLINE": "600"}).of("ibm_code_engine_job")
        self.assertEqual(job["scale_max_execution_time"], (job["scale_retry_limit"] + 1) * 600 + 60)

    def test_destination_topic_and_subscription(self):
        made = Made()
        (destination,) = made.of("ibm_en_destination_ce")
        self.assertEqual(
            {**{key: destination[key] for key in ("name", "type")}, "params": destination["config"][0]["params"][0]},
            expected("events", "destination"),
        )
        topic, source = made.topic("sm-tls-sync")
        self.assertEqual(
            {"name": topic["name"], "source": source["id"], "rules": source["rules"]}, expected("events", "topic")
        )
        self.leads("ibm_en_topic.rotations", made, expected("events", "subscription"))

    def leads(self, topic, made, wanted):
        """The subscription of that name leads from this topic to the job."""
        subscription = made.subscription(wanted["name"])
        self.assertEqual(made.all[topic]["name"], wanted["topic"])
        self.assertEqual(repr(subscription["topic_id"]), f"<{topic}.topic_id>")
        self.assertEqual(made.all["ibm_en_destination_ce.job"]["name"], wanted["destination"])
        self.assertEqual(repr(subscription["destination_id"]), "<ibm_en_destination_ce.job.destination_id>")

    def test_daily_run_by_the_timer(self):
        made = Made(schedule=WORDS["schedule"])
        wanted = expected("daily_run", "one_of", "timer")
        topic, source = made.topic(wanted["topic"]["name"])
        self.assertEqual(source["id"], "id-of-the-timer")
        self.assertEqual(
            source["rules"],
            [{"enabled": True, "event_schedule_filter": [{"expression": wanted["topic"]["schedule"]}]}],
        )
        (timer,) = made.of("ibm_en_ibmsource")
        self.assertEqual((timer["source_id"], timer["enabled"]), (source["id"], True))
        self.leads("ibm_en_topic.timer[0]", made, wanted["subscription"])
        self.assertIsNone(made.plan.output("cron_command"))

    def test_daily_run_by_the_command(self):
        made = Made(schedule=WORDS["schedule"], daily_run="cli")
        self.assertEqual(made.of("ibm_en_ibmsource"), [])
        self.assertEqual([topic["name"] for topic in made.of("ibm_en_topic")], ["sm-tls-sync"])
        wanted = expected("daily_run", "one_of", "cron")
        command = made.plan.output("cron_command").split(" && ")[-1]
        self.assertTrue(command.startswith("ibmcloud ce subscription cron create "))
        for key, value in wanted.items():
            text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value
            flag = f"--{key.replace('_', '-')} {text}"
            self.assertIn(flag, command.replace("'", ""))

    def test_a_time_of_the_day_for_each_project(self):
        schedules = {plan(job_project_id=id).output("schedule") for id in (PROJECT, JOB_PROJECT, OTHER_PROJECT)}
        self.assertEqual(len(schedules), 3)
        for schedule in schedules:
            self.assertRegex(schedule, r"^[1-5]?[0-9] [1-5] \* \* \*$")

    def test_mail(self):
        made = Made(alert_emails=["ops@example.com"])
        wanted = expected("mail")
        topic, source = made.topic(wanted["topic"]["name"])
        rules = json.loads((ROOT / wanted["topic"]["rules_file"]).read_text())
        self.assertEqual((source["id"], source["rules"]), (wanted["topic"]["source"], rules))
        subscription = made.subscription(wanted["subscription"]["name"])
        self.assertEqual(repr(subscription["topic_id"]), "<ibm_en_topic.alerts[0].topic_id>")
        self.assertEqual(subscription["destination_id"], "id-of-mail")
        self.assertEqual(subscription["attributes"][0]["invited"], ["ops@example.com"])
        self.assertEqual(Made().of("ibm_en_subscription_email"), [])

    def test_without_further_inputs_nothing_else_is_made(self):
        made = Made()
        self.assertEqual(
            sorted(address.split("[")[0] for address in made.all),
            [
                "ibm_code_engine_config_map.environment",
                "ibm_code_engine_job.job",
                "ibm_en_destination_ce.job",
                "ibm_en_ibmsource.timer",
                "ibm_en_subscription_ce.rotations",
                "ibm_en_subscription_ce.timer",
                "ibm_en_topic.rotations",
                "ibm_en_topic.timer",
                "ibm_iam_authorization_policy.code_engine",
                "ibm_iam_custom_role.updater",
                "ibm_iam_trusted_profile.job",
                "ibm_iam_trusted_profile_link.job",
                "ibm_iam_trusted_profile_policy.code_engine",
                "ibm_iam_trusted_profile_policy.secrets_manager",
                "terraform_data.alert_emails",
                "time_sleep.authorizations",
            ],
        )


if __name__ == "__main__":
    unittest.main()
