"""Paths, and inputs for the module that are good; tests change them."""

import json
import pathlib

from hcl import Folder, Plan

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULE = ROOT / "terraform"
EXAMPLES = sorted(path for path in (MODULE / "examples").iterdir())
# provider version -> its schema; a version lists what differs from the one before
FACTS = json.loads((HERE / "schema.json").read_text())
SCHEMA, SCHEMAS = {"resource": FACTS["other"], "data": {}}, {}
for version, changes in FACTS["versions"].items():
    SCHEMA = SCHEMAS[version] = {kind: {**known, **changes[kind]} for kind, known in SCHEMA.items()}

ACCOUNT = "a/4a1f7c0de2b84935a6c07d51b9e83f24"
SECRETS_MANAGER = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31"
EVENT_NOTIFICATIONS = "b1d7a3c8-62f4-4e09-95ab-3c8e07d146f2"
CLOUD_LOGS = "c4f90a17-8d2e-4b63-9a75-e01b3d68f2c5"
SECRETS_MANAGER_CRN = f"crn:v1:bluemix:public:secrets-manager:eu-de:{ACCOUNT}:{SECRETS_MANAGER}::"
EVENT_NOTIFICATIONS_CRN = f"crn:v1:bluemix:public:event-notifications:eu-es:{ACCOUNT}:{EVENT_NOTIFICATIONS}::"
CLOUD_LOGS_CRN = f"crn:v1:bluemix:public:logs:eu-de:{ACCOUNT}:{CLOUD_LOGS}::"
GROUP = "0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94"
SECRET = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852"
PROJECT = "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"
OTHER_PROJECT = "c6b8d0e2-1f3a-4b5c-9d7e-8f9a0b1c2d3e"
JOB_PROJECT = "91c3e5d7-0a2b-4c4d-8e6f-7a8b9c0d1e2f"
JOB_PROJECT_CRN = f"crn:v1:bluemix:public:codeengine:eu-de:{ACCOUNT}:{JOB_PROJECT}::"

INPUTS = {
    "secrets_manager_crn": SECRETS_MANAGER_CRN,
    "secret_group_ids": [GROUP],
    "event_notifications_crn": EVENT_NOTIFICATIONS_CRN,
    "project_id": PROJECT,
    "job_project_id": JOB_PROJECT,
    "targets": [{"secret_id": SECRET, "tls_secret": "shop-tls"}],
    "image": "de.icr.io/namespace/sm-tls-sync:0.1.0",
}

# what the data sources find
FOUND = {
    "data.ibm_code_engine_project.job": {"crn": JOB_PROJECT_CRN, "region": "eu-de"},
    "data.ibm_en_sources.all": {
        "sources": [
            {"id": f"{EVENT_NOTIFICATIONS}:api", "type": "api"},
            {"id": "id-of-the-timer", "type": "periodic-timer"},
            {"id": SECRETS_MANAGER_CRN, "type": "secrets-manager"},
        ]
    },
    "data.ibm_en_destinations.all": {
        "destinations": [{"id": "id-of-webhook", "type": "webhook"}, {"id": "id-of-mail", "type": "smtp_ibm"}]
    },
}

FOLDER = Folder(MODULE)


def plan(**inputs):
    """What the module makes of the good inputs and these."""
    return Plan(FOLDER, SCHEMA, {**INPUTS, **inputs}, FOUND)
