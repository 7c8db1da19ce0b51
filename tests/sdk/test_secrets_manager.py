"""Secrets Manager: secrets, metadata, versions, groups, lists, notifications, refusals."""


from ibm_secrets_manager_sdk import secrets_manager_v2 as sdk

from harness import CloudTest

NAMES = {"public_cert": "PublicCertificate", "imported_cert": "ImportedCertificate", "private_cert": "PrivateCertificate"}
# per type: the secret, its metadata, its version, the version's metadata
PARTS = ("", "Metadata", "Version", "VersionMetadata")
MODELS = {kind: tuple(getattr(sdk, name + part) for part in PARTS) for kind, name in NAMES.items()}
PAYLOAD = {"certificate", "intermediate", "private_key", "issuing_ca", "ca_chain"}


class SecretsManager(CloudTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client = cls.cloud.secrets_manager()
        cls.job = cls.cloud.secrets_manager(cls.cloud.profile())
        cls.secrets = {
            kind: cls.cloud.issue(secret_type=kind, name=f"one-{kind}", names=[f"{kind.replace('_', '-')}.example.com"])
            for kind in MODELS
        }

    def assert_payload(self, kind: str, secret: object) -> None:
        self.assert_pem(secret.certificate, "CERTIFICATE")
        self.assert_pem(secret.private_key, "(?:EC |RSA )?PRIVATE KEY")
        if kind == "private_cert":
            self.assert_pem(secret.issuing_ca, "CERTIFICATE")
            self.assertIn(secret.issuing_ca.strip(), [one.strip() for one in secret.ca_chain])
        else:
            self.assert_pem(secret.intermediate, "CERTIFICATE")

    def test_secret_by_id(self) -> None:
        for kind, (model, *_) in MODELS.items():
            id_ = self.secrets[kind]
            by_id = self.job.get_secret(id_).get_result()
            secret = self.parsed(model, by_id)
            self.assertEqual((secret.id, secret.secret_type, secret.state), (id_, kind, 1))
            self.assertEqual(secret.secret_group_id, self.cloud.world["secret_group_id"])
            self.assert_payload(kind, secret)
            # the SDK itself finds the model by the type
            self.assertIsInstance(sdk.Secret.from_dict(by_id), model)

    def test_metadata_holds_no_payload(self) -> None:
        for kind, (_, model, *_) in MODELS.items():
            id_ = self.secrets[kind]
            document = self.job.get_secret_metadata(id_).get_result()
            metadata = self.parsed(model, document)
            self.assertEqual(metadata.id, id_)
            self.assertEqual(set(document) & PAYLOAD, set())
            self.assertLess(metadata.validity.not_before, metadata.validity.not_after)
            self.assertRegex(metadata.serial_number, r"^[0-9a-f]{2}(:[0-9a-f]{2})+$")
            self.assertIsInstance(sdk.SecretMetadata.from_dict(document), model)

    def test_rotation_makes_a_version(self) -> None:
        prototypes = {
            "public_cert": sdk.PublicCertificateVersionPrototype(rotation={"rotate_keys": True}),
            "private_cert": sdk.PrivateCertificateVersionPrototype(),
        }
        for kind, (secret_model, _, model, metadata_model) in MODELS.items():
            id_ = self.secrets[kind]
            before = secret_model.from_dict(self.client.get_secret(id_).get_result())
            if kind == "imported_cert":
                other = secret_model.from_dict(
                    self.client.get_secret(
                        self.cloud.issue(secret_type=kind, name="other", names=["other.example.com"])
                    ).get_result()
                )
                prototype = sdk.ImportedCertificateVersionPrototype(
                    certificate=other.certificate, intermediate=other.intermediate, private_key=other.private_key
                )
            else:
                prototype = prototypes[kind]
            answer = self.client.create_secret_version(id_, prototype)
            self.assertEqual(answer.get_status_code(), 201)
            created = self.parsed(model, answer.get_result())
            self.assertNotEqual(created.certificate, before.certificate)
            after = secret_model.from_dict(self.client.get_secret(id_).get_result())
            self.assertEqual(after.certificate, created.certificate)
            self.assertEqual(after.versions_total, before.versions_total + 1)

            listed = sdk.SecretVersionMetadataCollection.from_dict(self.client.list_secret_versions(id_).get_result())
            self.assertEqual(listed.total_count, after.versions_total)
            self.assertIn(created.id, [version.id for version in listed.versions])
            # the alias is optional in the SDK
            for version in listed.versions:
                if version.alias:
                    self.assertEqual(version.alias == "current", version.id == created.id)
            current = self.parsed(model, self.client.get_secret_version(id_, "current").get_result())
            self.assertEqual((current.id, current.certificate), (created.id, created.certificate))
            previous = self.parsed(model, self.client.get_secret_version(id_, "previous").get_result())
            self.assertEqual(previous.certificate, before.certificate)
            metadata = self.client.get_secret_version_metadata(id_, previous.id).get_result()
            self.assertEqual(self.parsed(metadata_model, metadata).serial_number, before.serial_number)
            self.assertEqual(set(metadata) & PAYLOAD, set())

    def test_list_in_pages(self) -> None:
        group = self.cloud.world["secret_group_id"]
        for number in range(5):
            self.cloud.issue(name=f"page-{number}", names=[f"page-{number}.example.com"])
        first = self.client.list_secrets(limit=2).get_result()
        page = self.parsed(sdk.SecretMetadataPaginatedCollection, first)
        self.assertEqual((page.limit, page.offset, len(page.secrets)), (2, 0, 2))
        self.assertIsNotNone(page.next)
        for limit in (1, 2, 3, 100):
            pager = sdk.SecretsPager(client=self.client, limit=limit, groups=[group], search="page-")
            names = [secret["name"] for secret in pager.get_all() if "name" in secret]
            ids = {secret["id"] for secret in sdk.SecretsPager(client=self.client, limit=limit).get_all()}
            self.assertEqual(len(ids), page.total_count, f"every secret once with pages of {limit}")
            self.assertLessEqual({name for name in names}, {f"page-{number}" for number in range(5)})
        foreign = self.cloud.issue(
            name="page-foreign",
            names=["page.example.com"],
            secret_group_id=self.cloud.world["foreign_secret_group_id"],
        )
        everything = {secret["id"] for secret in sdk.SecretsPager(client=self.client, limit=2).get_all()}
        readable = {secret["id"] for secret in sdk.SecretsPager(client=self.job, limit=2).get_all()}
        self.assertIn(foreign, everything)
        self.assertNotIn(foreign, readable, "the job's profile may read one group")
        self.assertLess(set(self.secrets.values()), readable)
        listed = self.client.list_secrets(sort="-name", search="page-").get_result()["secrets"]
        self.assertEqual(set(listed[0]) & PAYLOAD, set())
        self.assertEqual(listed[0].get("name", "page-foreign"), "page-foreign")
        of_type = self.client.list_secrets(secret_types=["private_cert"]).get_result()
        self.assertEqual([one["secret_type"] for one in of_type["secrets"]], ["private_cert"])

    def test_what_discover_reads(self) -> None:
        listed = self.job.list_secrets(limit=200, offset=0, sort="id", secret_types=list(MODELS)).get_result()
        self.assertEqual({one["secret_type"] for one in listed["secrets"]}, set(MODELS))
        ids = [one["id"] for one in listed["secrets"]]
        self.assertEqual(ids, sorted(ids))
        for document in listed["secrets"]:
            certificate = MODELS[document["secret_type"]][0].from_dict(self.job.get_secret(document["id"]).get_result())
            listed_one = self.parsed(MODELS[document["secret_type"]][1], document)
            for field in ("serial_number", "issuer", "common_name", "alt_names", "state"):
                self.assertEqual(getattr(listed_one, field), getattr(certificate, field), field)
        id_ = self.secrets["public_cert"]
        before = self.client.get_secret(id_).get_result()["serial_number"]
        self.client.create_secret_version(id_, sdk.PublicCertificateVersionPrototype(rotation={"rotate_keys": True}))
        previous = self.job.get_secret_version_metadata(id_, "previous").get_result()
        model = MODELS["public_cert"][3]
        self.assertEqual(self.parsed(model, previous).serial_number, before)

    def test_create_and_delete(self) -> None:
        source = self.cloud.issue(name="source", names=["source.example.com"], secret_type="imported_cert")
        material = self.client.get_secret(source).get_result()
        answer = self.client.create_secret(
            sdk.ImportedCertificatePrototype(
                secret_type="imported_cert",
                name="imported-by-sdk",
                secret_group_id=self.cloud.world["secret_group_id"],
                certificate=material["certificate"],
                intermediate=material["intermediate"],
                private_key=material["private_key"],
            )
        )
        self.assertEqual(answer.get_status_code(), 201)
        made = self.parsed(sdk.ImportedCertificate, answer.get_result())
        self.assertTrue(made.intermediate_included and made.private_key_included)
        self.assertEqual(made.serial_number, material["serial_number"])
        self.assertEqual(self.client.delete_secret(made.id).get_status_code(), 204)
        self.assert_generic_shape(self.refused(404, "not found", self.client.get_secret, made.id))

    def test_group(self) -> None:
        answer = self.client.create_secret_group(name="by-sdk")
        self.assertEqual(answer.get_status_code(), 201)
        self.assertEqual(self.parsed(sdk.SecretGroup, answer.get_result()).name, "by-sdk")

    def test_notifications_registration(self) -> None:
        crn = self.cloud.world["event_notifications_instance_crn"]
        answer = self.client.create_notifications_registration(crn, "secrets-manager")
        self.assertEqual(answer.get_status_code(), 201)
        self.parsed(sdk.NotificationsRegistration, answer.get_result())
        found = self.client.get_notifications_registration().get_result()
        self.assertEqual(found["event_notifications_instance_crn"], crn)
        self.assertEqual(self.client.get_notifications_registration_test().get_status_code(), 204)
        self.assertEqual(self.client.delete_notifications_registration().get_status_code(), 204)
        self.refused(404, "not registered", self.client.get_notifications_registration)

    def test_refusals(self) -> None:
        unknown = "00000000-0000-4000-8000-000000000000"
        public = self.secrets["public_cert"]
        foreign = self.cloud.issue(
            name="foreign", names=["f.example.com"], secret_group_id=self.cloud.world["foreign_secret_group_id"]
        )
        refusals = [
            (404, "not found", self.job.get_secret, (unknown,)),
            (404, "not found", self.job.get_secret_version, (public, unknown)),
            (400, "UUID", self.job.get_secret, ("no-id",)),
            (403, "policy", self.job.get_secret, (foreign,)),
            (403, "policy", self.job.get_secret_metadata, (foreign,)),
            (403, "policy", self.job.create_secret_version, (public, sdk.PublicCertificateVersionPrototype(rotation={}))),
            (400, "content", self.client.create_secret_version, (self.secrets["imported_cert"], {"comment": "none"})),
        ]
        for status, message, call, arguments in refusals:
            with self.subTest(f"{status} {call.__name__}"):
                self.assert_generic_shape(self.refused(status, message, call, *arguments))

    def test_faults(self) -> None:
        for kind, status in (({"status": 429}, 429), ({"status": 500}, 500), ({"status": 503}, 503)):
            with self.subTest(str(kind)):
                self.cloud.control("POST", "/faults", {"service": "secrets_manager", "kind": kind, "times": 1})
                error = self.refused(status, ".", self.job.get_secret, self.secrets["public_cert"])
                self.assert_generic_shape(error)
        broken = {"answer": {"status": 200, "content_type": "application/json", "body": "{"}}
        self.cloud.control("POST", "/faults", {"service": "secrets_manager", "kind": broken, "times": 1})
        self.refused(200, "Error processing the HTTP response", self.job.get_secret, self.secrets["public_cert"])
