"""Code Engine: TLS secrets and their tags, domain mappings, apps, jobs, job runs, refusals."""

import json
import time

from ibm_cloud_sdk_core import ApiException, DetailedResponse
from ibm_code_engine_sdk import code_engine_v2 as sdk

from harness import CloudTest


def tag(answer: DetailedResponse) -> str:
    """What `If-Match` takes: the field that the API documents. A gateway may have changed the header."""
    return answer.get_result()["entity_tag"]


class CodeEngineTest(CloudTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.project = cls.cloud.project
        cls.client = cls.cloud.code_engine()
        cls.job = cls.cloud.code_engine(cls.cloud.profile())
        cls.policies = cls.cloud.control("GET", "/policies")

    def conflict(self, call: object, *arguments: object, **named: object) -> None:
        """A stale tag is 412, or 409 where the cloud uses that freedom."""
        with self.assertRaises(ApiException) as caught:
            call(*arguments, **named)
        self.assertIn(caught.exception.status_code, (409, 412))
        self.assertRegex(caught.exception.message, "entity tag")
        self.assert_generic_shape(caught.exception)

    def material(self) -> sdk.SecretDataTLSSecretData:
        """Certificate and key, as the prototype wants them."""
        found = self.cloud.control("GET", f"/secrets/{self.cloud.variables['SECRET_ID']}/material")
        return sdk.SecretDataTLSSecretData(tls_cert=found["certificate"], tls_key=found["private_key"])


class TlsSecrets(CodeEngineTest):
    def test_life_of_a_tls_secret(self) -> None:
        data = self.material()
        answer = self.client.create_secret(self.project, "tls", "by-sdk", data=data)
        self.assertEqual(answer.get_status_code(), 201)
        made = self.parsed(sdk.Secret, answer.get_result())
        self.assertEqual((made.name, made.format, made.generated_by), ("by-sdk", "tls", "user"))
        self.assertEqual(made.resource_type, "secret_tls_v2")
        self.assertEqual(made.project_id, self.project)

        first = self.client.get_secret(self.project, "by-sdk")
        self.assertEqual(first.get_result()["data"], data.to_dict())
        changed = {"tls_cert": data.tls_cert + "\n", "tls_key": data.tls_key}
        answer = self.job.replace_secret(self.project, "by-sdk", tag(first), "tls", data=changed)
        self.assertEqual(answer.get_status_code(), 200)
        self.parsed(sdk.Secret, answer.get_result())
        self.assertNotEqual(tag(answer), tag(first))
        self.assertEqual(self.client.get_secret(self.project, "by-sdk").get_result()["data"], changed)

        self.conflict(self.job.replace_secret, self.project, "by-sdk", tag(first), "tls", data=data)
        self.assertEqual(self.client.get_secret(self.project, "by-sdk").get_result()["data"], changed)
        self.job.replace_secret(self.project, "by-sdk", "*", "tls", data=data)
        self.assertEqual(self.client.get_secret(self.project, "by-sdk").get_result()["data"], data.to_dict())

        self.assertEqual(self.client.delete_secret(self.project, "by-sdk").get_status_code(), 202)
        self.refused(404, "(?i)not found", self.client.get_secret, self.project, "by-sdk")

    def test_list_in_pages(self) -> None:
        for number in range(5):
            self.client.create_secret(self.project, "generic", f"page-{number}", data={"key": "value"})
        for limit in (1, 3, 100):
            pager = sdk.SecretsPager(client=self.job, project_id=self.project, limit=limit)
            names = [secret["name"] for secret in pager.get_all()]
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual({"shop-tls"} | {f"page-{number}" for number in range(5)}, set(names))
        listed = self.job.list_secrets(self.project, format="tls").get_result()
        self.parsed(sdk.SecretList, listed)
        self.assertEqual({secret["format"] for secret in listed["secrets"]}, {"tls"})
        self.cloud.control("PUT", "/policies", [])
        self.addCleanup(self.cloud.control, "PUT", "/policies", self.policies)
        self.refused(403, "(?i)not authorized", self.job.list_secrets, self.project)

    def test_refusals(self) -> None:
        data = self.material()
        unknown = "00000000-0000-4000-8000-000000000000"
        refusals = [
            (404, "(?i)not found", self.job.get_secret, (self.project, "nobody"), {}),
            (404, "(?i)not found", self.job.get_secret, (unknown, "shop-tls"), {}),
            (404, "(?i)not found", self.job.replace_secret, (self.project, "nobody", "*", "tls"), {"data": data}),
            (409, "already exists", self.client.create_secret, (self.project, "tls", "shop-tls"), {"data": data}),
            (400, "tls_key", self.client.create_secret, (self.project, "tls", "half"), {"data": {"tls_cert": "x"}}),
            (400, "name", self.client.create_secret, (self.project, "tls", "Not_Valid"), {"data": data}),
            (400, "format", self.job.replace_secret, (self.project, "shop-tls", "*", "generic"), {"data": {"a": "b"}}),
            (400, "limit", self.client.list_secrets, (self.project,), {"limit": 101}),
        ]
        for status, message, call, arguments, named in refusals:
            with self.subTest(f"{status} {message} {call.__name__}"):
                self.assert_generic_shape(self.refused(status, message, call, *arguments, **named))

    def test_faults(self) -> None:
        for status in (429, 500, 503):
            with self.subTest(status):
                fault = {"service": "code_engine", "kind": {"status": status}, "times": 1}
                self.cloud.control("POST", "/faults", fault)
                self.assert_generic_shape(self.refused(status, ".", self.job.get_secret, self.project, "shop-tls"))

    def test_project(self) -> None:
        project = self.parsed(sdk.Project, self.client.get_project(self.project).get_result())
        self.assertEqual((project.id, project.status), (self.project, "active"))

    def test_config_map(self) -> None:
        answer = self.client.create_config_map(self.project, "targets", data={"TARGETS": "[]"})
        self.parsed(sdk.ConfigMap, answer.get_result())
        self.client.replace_config_map(self.project, "targets", tag(answer), data={"TARGETS": "[1]"})
        found = self.client.get_config_map(self.project, "targets").get_result()
        self.assertEqual(found["data"], {"TARGETS": "[1]"})
        self.conflict(self.client.replace_config_map, self.project, "targets", tag(answer), data={})


class DomainMappings(CodeEngineTest):
    def test_life_of_a_mapping(self) -> None:
        component = sdk.ComponentRef(name="shop", resource_type="app_v2")
        answer = self.client.create_domain_mapping(self.project, component, "blog.example.com", "shop-tls")
        self.assertEqual(answer.get_status_code(), 201)
        made = self.parsed(sdk.DomainMapping, answer.get_result())
        self.assertEqual((made.tls_secret, made.user_managed, made.visibility), ("shop-tls", True, "custom"))
        self.assertTrue(made.cname_target)

        listed = self.job.list_domain_mappings(self.project).get_result()
        self.parsed(sdk.DomainMappingList, listed)
        names = [one["name"] for one in listed["domain_mappings"]]
        self.assertIn("blog.example.com", names)
        self.assertIn("shop.example.com", names)
        paged = sdk.DomainMappingsPager(client=self.job, project_id=self.project, limit=1).get_all()
        self.assertEqual([one["name"] for one in paged], names)

        self.client.create_secret(self.project, "tls", "other-tls", data=self.material())
        found = self.job.get_domain_mapping(self.project, "blog.example.com")
        patch = sdk.DomainMappingPatch(tls_secret="other-tls").to_dict()
        changed = self.client.update_domain_mapping(self.project, "blog.example.com", tag(found), patch)
        self.assertEqual(self.parsed(sdk.DomainMapping, changed.get_result()).tls_secret, "other-tls")
        self.conflict(self.client.update_domain_mapping, self.project, "blog.example.com", tag(found), patch)

        self.refused(
            400, "nobody", self.client.create_domain_mapping, self.project, component, "x.example.com", "nobody"
        )
        self.assertEqual(self.client.delete_domain_mapping(self.project, "blog.example.com").get_status_code(), 202)
        self.refused(404, "(?i)not found", self.job.get_domain_mapping, self.project, "blog.example.com")


class Apps(CodeEngineTest):
    def test_life_of_an_app(self) -> None:
        variable = sdk.EnvVarPrototype(type="secret_full_reference", reference="shop-tls")
        answer = self.client.create_app(
            self.project, "icr.example/shop:1", "shop", run_env_variables=[variable], scale_min_instances=1
        )
        self.assertEqual(answer.get_status_code(), 201)
        made = self.parsed(sdk.App, answer.get_result())
        self.assertEqual(made.status_details.latest_ready_revision, made.status_details.latest_created_revision)

        listed = self.job.list_apps(self.project).get_result()
        self.parsed(sdk.AppList, listed)
        self.assertEqual([app["name"] for app in listed["apps"]], ["shop"])

        found = self.job.get_app(self.project, "shop")
        digest = {"type": "literal", "name": "TLS_SECRET_SHA256_SHOP_TLS", "value": "00"}
        patch = {"run_env_variables": [*found.get_result()["run_env_variables"], digest]}
        changed = self.job.update_app(self.project, "shop", tag(found), patch)
        after = self.parsed(sdk.App, changed.get_result())
        # arrays are replaced as a whole, everything else stays
        self.assertEqual(changed.get_result()["run_env_variables"], patch["run_env_variables"])
        self.assertEqual((after.image_reference, after.scale_min_instances), ("icr.example/shop:1", 1))
        # a status may lag behind the change
        for _ in range(10):
            if after.status_details.latest_created_revision != made.status_details.latest_created_revision:
                break
            after = self.parsed(sdk.App, self.job.get_app(self.project, "shop").get_result())
        self.assertNotEqual(
            after.status_details.latest_created_revision, made.status_details.latest_created_revision
        )
        self.conflict(self.job.update_app, self.project, "shop", tag(found), patch)

        self.assertEqual(self.client.delete_app(self.project, "shop").get_status_code(), 202)
        self.refused(404, "(?i)not found", self.job.get_app, self.project, "shop")


class Jobs(CodeEngineTest):
    def ended(self, name: str) -> dict:
        """The run once it is over; the API has nothing to wait on."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            run = self.client.get_job_run(self.project, name).get_result()
            if run["status"] in ("completed", "failed"):
                return run
        self.fail(f"job run {name} did not end within a minute")

    def test_life_of_a_job(self) -> None:
        # the job of the world shows which variables a run in Code Engine needs
        template = self.client.get_job(self.project, "sm-tls-sync").get_result()
        self.parsed(sdk.Job, template)
        answer = self.client.create_job(
            self.project,
            "icr.example/sm-tls-sync:1",
            "by-sdk",
            run_env_variables=[sdk.EnvVarPrototype(type="literal", name="LOG_LEVEL", value="debug")],
            run_compute_resource_token_enabled=True,
            scale_retry_limit=0,
        )
        self.assertEqual(answer.get_status_code(), 201)
        made = self.parsed(sdk.Job, answer.get_result())
        self.assertEqual((made.scale_retry_limit, made.run_compute_resource_token_enabled), (0, True))
        patch = sdk.JobPatch(scale_max_execution_time=420).to_dict()
        changed = self.client.update_job(self.project, "by-sdk", tag(answer), patch)
        self.assertEqual(self.parsed(sdk.Job, changed.get_result()).scale_max_execution_time, 420)
        self.conflict(self.client.update_job, self.project, "by-sdk", tag(answer), patch)
        listed = self.client.list_jobs(self.project).get_result()
        self.parsed(sdk.JobList, listed)
        self.assertEqual([job["name"] for job in listed["jobs"]], ["by-sdk", "sm-tls-sync"])

        # without its required variables the job ends with status 2, and there is no retry
        run = self.client.create_job_run(self.project, job_name="by-sdk").get_result()
        failed = self.parsed(sdk.JobRun, self.ended(run["name"]))
        self.assertEqual(failed.status, "failed")
        self.assertEqual(failed.status_details.failed, 1)
        self.assertEqual(failed.status_details.indices_details["0"].last_failure_reason, "ContainerExitedCode2")

        self.assertEqual(self.client.delete_job(self.project, "by-sdk").get_status_code(), 202)
        self.refused(404, "(?i)not found", self.client.get_job, self.project, "by-sdk")

    def test_run_of_the_real_job_replaces_the_secret(self) -> None:
        before = self.client.get_secret(self.project, "shop-tls").get_result()["data"]
        secret = self.cloud.variables["SECRET_ID"]
        self.cloud.control("POST", "/rotate", {"secret_ids": [secret], "quietly": True})
        answer = self.client.create_job_run(
            self.project,
            job_name="sm-tls-sync",
            name="by-hand",
            run_env_variables=[sdk.EnvVarPrototype(type="literal", name="LOG_LEVEL", value="debug")],
        )
        self.assertEqual(answer.get_status_code(), 202)
        self.parsed(sdk.JobRun, answer.get_result())
        run = self.parsed(sdk.JobRun, self.ended("by-hand"))
        attempts = self.cloud.control("GET", f"/projects/{self.project}/job_runs")
        self.assertEqual(run.status, "completed", json.dumps(attempts))
        self.assertEqual((run.status_details.succeeded, run.status_details.failed), (1, 0))
        after = self.client.get_secret(self.project, "shop-tls").get_result()["data"]
        material = self.cloud.control("GET", f"/secrets/{secret}/material")
        self.assertNotEqual(after["tls_key"], before["tls_key"])
        self.assertEqual(after["tls_key"], material["private_key"])

        runs = self.client.list_job_runs(self.project, job_name="sm-tls-sync").get_result()
        self.parsed(sdk.JobRunList, runs)
        self.assertEqual([one["name"] for one in runs["job_runs"]], ["by-hand"])
        refused = self.refused(
            409, "already exists", self.client.create_job_run, self.project, job_name="sm-tls-sync", name="by-hand"
        )
        self.assert_generic_shape(refused)
        self.assertEqual(self.client.delete_job_run(self.project, "by-hand").get_status_code(), 202)
        self.refused(404, "(?i)not found", self.client.get_job_run, self.project, "by-hand")

    def test_refusals(self) -> None:
        large = [sdk.EnvVarPrototype(type="literal", name="LARGE", value="x" * 10_240)]
        self.assert_generic_shape(
            self.refused(404, ".", self.client.create_job_run, self.project, job_name="nobody")
        )
        self.assert_generic_shape(
            self.refused(
                400, "bytes", self.client.create_job_run, self.project, job_name="sm-tls-sync", run_env_variables=large
            )
        )
        self.refused(404, "(?i)not found", self.client.get_job_run, self.project, "nobody")
