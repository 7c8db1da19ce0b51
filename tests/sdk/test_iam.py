"""Tokens: by trusted profile, by API key, and every way to be refused."""

import pathlib
import tempfile

from ibm_cloud_sdk_core.authenticators import BearerTokenAuthenticator, ContainerAuthenticator, IAMAuthenticator

from harness import CloudTest


class Tokens(CloudTest):
    def test_profile_by_id_name_and_crn(self) -> None:
        world = self.cloud.world
        # SDK core knows id and name.
        for named in ({"iam_profile_id": world["profile_id"]}, {"iam_profile_name": world["profile_name"]}):
            with self.subTest(named):
                authenticator = self.cloud.profile(**named)
                token = authenticator.token_manager.get_token()
                self.assertEqual(token.count("."), 2)
                secrets = self.cloud.secrets_manager(authenticator).list_secrets().get_result()
                self.assertGreater(secrets["total_count"], 0)

    def test_api_key(self) -> None:
        authenticator = self.cloud.owner()
        answer = authenticator.token_manager.request_token()
        self.assertEqual(answer["token_type"], "Bearer")
        self.assertEqual(answer["expires_in"], 3600)
        # the SDK keeps the token until 80 % of its life are over: one request for many calls
        tokens = {authenticator.token_manager.get_token() for _ in range(3)}
        self.assertEqual(len(tokens), 1)

    def test_foreign_profile(self) -> None:
        authenticator = self.cloud.profile(iam_profile_id="Profile-00000000-0000-0000-0000-000000000000")
        error = self.refused(400, "not eligible", authenticator.token_manager.get_token)
        body = error.http_response.json()
        self.assertEqual(body["errorCode"], "BXNIM0398E")
        self.assertTrue({"errorMessage", "errorDetails", "context"} <= set(body))

    def test_unknown_compute_resource_token(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "token")
            file.write_text("e30.e30.x", encoding="ascii")
            authenticator = self.cloud.profile(
                iam_profile_id=self.cloud.world["profile_id"], cr_token_filename=str(file)
            )
            error = self.refused(400, "invalid", authenticator.token_manager.get_token)
        self.assertEqual(error.http_response.json()["errorCode"], "BXNIM0407E")

    def test_unknown_api_key(self) -> None:
        authenticator = IAMAuthenticator("no-such-key", url=self.cloud.urls["iam"])
        error = self.refused(400, "could not be found", authenticator.token_manager.get_token)
        self.assertEqual(error.http_response.json()["errorCode"], "BXNIM0415E")

    def test_missing_token_file_is_the_sdk_s_own_error(self) -> None:
        authenticator = ContainerAuthenticator(
            cr_token_filename="/nonexistent/token",
            iam_profile_id=self.cloud.world["profile_id"],
            url=self.cloud.urls["iam"],
        )
        with self.assertRaisesRegex(Exception, "Unable to retrieve the CR token"):
            authenticator.token_manager.get_token()

    def test_iam_is_down(self) -> None:
        self.cloud.control("POST", "/faults", {"service": "iam", "kind": {"status": 503}})
        error = self.refused(503, "Service Unavailable", self.cloud.profile().token_manager.get_token)
        self.assertIn("errorCode", error.http_response.json())

    def test_token_that_nobody_issued(self) -> None:
        stranger = BearerTokenAuthenticator("e30.e30.x")
        world = self.cloud.world
        calls = {
            "Secrets Manager": (self.cloud.secrets_manager(stranger).list_secrets, ()),
            "Code Engine": (self.cloud.code_engine(stranger).list_secrets, (world["project_id"],)),
            "Event Notifications": (
                self.cloud.event_notifications(stranger).list_topics,
                (world["event_notifications_instance_id"],),
            ),
        }
        for service, (call, arguments) in calls.items():
            with self.subTest(service):
                self.assert_generic_shape(self.refused(401, "(?i)token|unauthorized", call, *arguments))
