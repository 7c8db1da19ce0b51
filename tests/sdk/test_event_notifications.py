"""Event Notifications: source, topic, destination, subscription, and an event's way through them."""

import time

from ibm_code_engine_sdk.code_engine_v2 import CodeEngineV2
from ibm_eventnotifications import event_notifications_v1 as sdk
from ibm_secrets_manager_sdk.secrets_manager_v2 import PublicCertificateVersionPrototype

from harness import CloudTest


class EventNotifications(CloudTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client = cls.cloud.event_notifications()
        cls.instance = cls.cloud.world["event_notifications_instance_id"]

    def runs(self, client: CodeEngineV2, ended: int) -> list[dict]:
        """The project's job runs once so many are over; the API has nothing to wait on."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            runs = client.list_job_runs(self.cloud.project).get_result()["job_runs"]
            if sum(run["status"] in ("completed", "failed") for run in runs) >= ended:
                return runs
        self.fail(f"{ended} job runs were not over within a minute")

    def test_source_topic_destination_subscription(self) -> None:
        source = self.parsed(
            sdk.SourceResponse, self.client.create_sources(self.instance, "by-sdk", "an API source").get_result()
        )
        self.assertTrue(source.enabled)
        sources = self.parsed(sdk.SourceList, self.client.list_sources(self.instance).get_result())
        self.assertIn(source.id, [one.id for one in sources.sources])
        self.parsed(sdk.Source, self.client.get_source(self.instance, source.id).get_result())

        rule = sdk.Rules(
            enabled=True, event_type_filter="$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'"
        )
        topic = self.parsed(
            sdk.TopicResponse,
            self.client.create_topic(
                self.instance, "rotations", sources=[sdk.SourcesItems(id=source.id, rules=[rule])]
            ).get_result(),
        )
        topics = self.parsed(sdk.TopicList, self.client.list_topics(self.instance).get_result())
        self.assertIn(topic.id, [one.id for one in topics.topics])
        found = self.parsed(sdk.Topic, self.client.get_topic(self.instance, topic.id).get_result())
        self.assertEqual(found.sources[0].rules[0].event_type_filter, rule.event_type_filter)

        config = sdk.DestinationConfig(
            params=sdk.DestinationConfigOneOfCodeEngineDestinationConfig(
                type="job", project_crn=self.cloud.world["project_crn"], job_name="sm-tls-sync"
            )
        )
        answer = self.client.create_destination(self.instance, "job", "ibmce", config=config.to_dict())
        self.assertEqual(answer.get_status_code(), 201)
        destination = self.parsed(sdk.DestinationResponse, answer.get_result())
        read = self.client.get_destination(self.instance, destination.id).get_result()
        self.parsed(sdk.Destination, read)
        self.assertEqual(read["config"]["params"]["job_name"], "sm-tls-sync")
        listed = self.parsed(sdk.DestinationList, self.client.list_destinations(self.instance).get_result())
        self.assertIn(destination.id, [one.id for one in listed.destinations])

        answer = self.client.create_subscription(
            self.instance, "to the job", destination_id=destination.id, topic_id=topic.id
        )
        self.assertEqual(answer.get_status_code(), 201)
        subscription = self.parsed(sdk.Subscription, answer.get_result())
        self.assertEqual((subscription.topic_id, subscription.destination_id), (topic.id, destination.id))
        self.assertEqual((subscription.destination_type, subscription.topic_name), ("ibmce", "rotations"))
        self.parsed(sdk.Subscription, self.client.get_subscription(self.instance, subscription.id).get_result())
        listed = self.parsed(sdk.SubscriptionList, self.client.list_subscriptions(self.instance).get_result())
        self.assertIn(subscription.id, [one.id for one in listed.subscriptions])

        for delete, id_ in (
            (self.client.delete_subscription, subscription.id),
            (self.client.delete_topic, topic.id),
            (self.client.delete_destination, destination.id),
            (self.client.delete_source, source.id),
        ):
            self.assertEqual(delete(self.instance, id_).get_status_code(), 204)
        self.assert_generic_shape(self.refused(404, ".", self.client.get_topic, self.instance, topic.id))

    def test_rotation_by_sdk_starts_the_job(self) -> None:
        # `serve` subscribed the job to rotations
        code_engine = self.cloud.code_engine()
        earlier = {run["name"] for run in self.runs(code_engine, 0)}
        before = code_engine.get_secret(self.cloud.project, "shop-tls").get_result()["data"]
        self.cloud.secrets_manager().create_secret_version(
            self.cloud.variables["SECRET_ID"], PublicCertificateVersionPrototype(rotation={"rotate_keys": True})
        )
        (run,) = [run for run in self.runs(code_engine, len(earlier) + 1) if run["name"] not in earlier]
        self.assertEqual((run["job_name"], run["status"]), ("sm-tls-sync", "completed"))
        after = code_engine.get_secret(self.cloud.project, "shop-tls").get_result()["data"]
        self.assertNotEqual(after["tls_key"], before["tls_key"])

    def test_a_schedule_of_the_periodic_timer_starts_the_job(self) -> None:
        job = self.cloud.code_engine()
        before = len(self.runs(job, 0))
        self.cloud.control("PUT", f"/projects/{self.cloud.project}/jobs/sm-tls-sync/timer", "17 3 * * *")
        sources = self.client.list_sources(self.instance).get_result()["sources"]
        (timer,) = [source for source in sources if source["type"] == "periodic_timer"]
        filter_ = sdk.EventScheduleFilterAttributes(expression="0 4 * * *")
        rule = sdk.Rules(enabled=True, event_schedule_filter=filter_)
        source = sdk.SourcesItems(id=timer["id"], rules=[rule])
        topic = self.client.create_topic(self.instance, "daily", sources=[source]).get_result()
        found = self.parsed(sdk.Topic, self.client.get_topic(self.instance, topic["id"]).get_result())
        self.assertEqual(found.sources[0].rules[0].event_schedule_filter.expression, "0 4 * * *")
        self.cloud.control("POST", "/timer")
        self.assertEqual(len(self.runs(job, before + 1)), before + 1)
        self.assertEqual(self.client.delete_topic(self.instance, topic["id"]).get_status_code(), 204)

    def test_refusals(self) -> None:
        unknown = "00000000-0000-4000-8000-000000000000"
        bad_rule = sdk.Rules(enabled=True, event_type_filter="$.type ==")
        (source, *_) = self.client.list_sources(self.instance).get_result()["sources"]
        topic_source = sdk.SourcesItems(id=source["id"], rules=[bad_rule])
        bad_config = {"params": {"type": "job", "job_name": "x"}}
        profile = self.cloud.event_notifications(self.cloud.profile())
        refusals = [
            (404, ".", self.client.get_topic, (self.instance, unknown), {}),
            (404, ".", self.client.get_destination, (self.instance, unknown), {}),
            (404, ".", self.client.get_subscription, (self.instance, unknown), {}),
            (404, ".", self.client.delete_subscription, (self.instance, unknown), {}),
            (400, "filter", self.client.create_topic, (self.instance, "bad"), {"sources": [topic_source]}),
            (400, "project_crn", self.client.create_destination, (self.instance, "x", "ibmce"), {"config": bad_config}),
            (400, "topic", self.client.create_subscription, (self.instance, "x", unknown, unknown), {}),
            (403, "policy", profile.list_topics, (self.instance,), {}),
        ]
        for status, message, call, arguments, named in refusals:
            with self.subTest(f"{status} {call.__name__}"):
                self.assert_generic_shape(self.refused(status, message, call, *arguments, **named))
