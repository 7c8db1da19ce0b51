"""IBM's SDK clients that talk to a local cloud, and what the tests assert in common."""

import os
import pathlib
import re
import unittest

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import ContainerAuthenticator, IAMAuthenticator
from ibm_code_engine_sdk.code_engine_v2 import CodeEngineV2
from ibm_eventnotifications.event_notifications_v1 import EventNotificationsV1
from ibm_secrets_manager_sdk.secrets_manager_v2 import SecretsManagerV2

from local_cloud import LocalCloud

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Cloud(LocalCloud):
    """The local cloud with IBM's SDK clients that talk to it."""

    def __init__(self) -> None:
        super().__init__(TARGET / "debug" / "local-cloud", "--job", TARGET / "debug" / "sm-tls-sync")
        self.urls = self.control("GET", "/urls")

    def owner(self) -> IAMAuthenticator:
        """May do everything."""
        return IAMAuthenticator(self.world["api_key"], url=self.urls["iam"])

    def profile(self, **other: str) -> ContainerAuthenticator:
        """What the job may do: the trusted profile, by the compute resource token."""
        named = other or {"iam_profile_id": self.world["profile_id"]}
        settings = {"cr_token_filename": self.variables["CR_TOKEN_FILENAME"], **named}
        return ContainerAuthenticator(url=self.urls["iam"], **settings)

    def secrets_manager(self, who: object = None) -> SecretsManagerV2:
        """The SDK's client of Secrets Manager."""
        client = SecretsManagerV2(authenticator=who or self.owner())
        client.set_service_url(self.urls["secrets_manager"])
        return client

    def code_engine(self, who: object = None) -> CodeEngineV2:
        """The SDK's client of Code Engine."""
        client = CodeEngineV2(authenticator=who or self.owner(), version="2025-07-10")
        client.set_service_url(self.urls["code_engine"] + "/v2")
        return client

    def event_notifications(self, who: object = None) -> EventNotificationsV1:
        """The SDK's client of Event Notifications."""
        client = EventNotificationsV1(authenticator=who or self.owner())
        client.set_service_url(self.urls["event_notifications"])
        return client


class CloudTest(unittest.TestCase):
    """One cloud per class."""

    cloud: Cloud

    @classmethod
    def setUpClass(cls) -> None:
        cls.cloud = Cloud()
        cls.addClassCleanup(cls.cloud.stop)
        # The SDKs' token managers have no setting of their own for a CA.
        os.environ["REQUESTS_CA_BUNDLE"] = cls.cloud.urls["ca_file"]

    def setUp(self) -> None:
        self.addCleanup(self.cloud.control, "DELETE", "/faults")

    def parsed(self, model: type, document: dict) -> object:
        """The document as the SDK's model: it has what the model requires, and under no other name."""
        read = model.from_dict(document)
        # Secret data has free keys; everything else that the model drops is a name IBM does not know.
        strange = {name for name in set(document) - set(read.to_dict()) if not name.startswith("x_")}
        self.assertEqual(strange, set(), f"fields that {model.__name__} does not know")
        return read

    def refused(self, status: int, message: str, call: object, *arguments: object, **named: object) -> ApiException:
        """The call raises the SDK's exception with this status and a message that fits the pattern."""
        with self.assertRaises(ApiException) as caught:
            call(*arguments, **named)
        error = caught.exception
        self.assertEqual(error.status_code, status, error)
        self.assertRegex(error.message, message)
        return error

    def assert_generic_shape(self, error: ApiException) -> None:
        """The body of a refusal, as all services but IAM have it."""
        body = error.http_response.json()
        self.assertEqual(body["status_code"], error.status_code)
        self.assertTrue(body["trace"])
        for one in body["errors"]:
            self.assertTrue(one["code"] and one["message"])

    def assert_pem(self, text: str, label: str) -> None:
        """Nothing but PEM blocks of this label, at least one."""
        block = rf"-----BEGIN {label}-----\n[A-Za-z0-9+/=\n]+-----END {label}-----\n?"
        self.assertRegex(text, re.compile(rf"\A(?:{block})+\Z"))
