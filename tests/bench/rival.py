"""The same job on IBM's official SDKs: what one would write in Python.

Takes the job's variables, `TARGETS` included; several targets are handled 8 at a time. Does less
than the job: it checks neither the certificate nor the rotation for sense.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from ibm_cloud_sdk_core.authenticators import ContainerAuthenticator
from ibm_code_engine_sdk.code_engine_v2 import CodeEngineV2
from ibm_secrets_manager_sdk.secrets_manager_v2 import SecretsManagerV2

END = "-----END CERTIFICATE-----"


def chain(secret: dict) -> str:
    """Leaf first, then what is not in `certificate` already."""
    certificate = secret["certificate"].strip()
    if certificate.count(END) == 1 and secret.get("intermediate"):
        certificate += "\n" + secret["intermediate"].strip()
    return certificate + "\n"


def main() -> None:
    environment = os.environ
    authenticator = ContainerAuthenticator(
        cr_token_filename=environment["CR_TOKEN_FILENAME"],
        iam_profile_id=environment["IAM_PROFILE_ID"],
        url=environment["IAM_URL"],
    )
    secrets_manager = SecretsManagerV2(authenticator=authenticator)
    secrets_manager.set_service_url(environment["SECRETS_MANAGER_URL"])
    code_engine = CodeEngineV2(authenticator=authenticator, version="2025-07-10")
    code_engine.set_service_url(environment["CODE_ENGINE_URL"] + "/v2")
    project = environment["PROJECT_ID"]

    def synchronize(target: dict) -> str:
        name = target["tls_secret"]
        deployed = code_engine.get_secret(project, name)
        secret = secrets_manager.get_secret(target["secret_id"]).get_result()
        data = {"tls_cert": chain(secret), "tls_key": secret["private_key"]}
        if deployed.get_result()["data"] == data:
            return f"{name}: unchanged"
        code_engine.replace_secret(project, name, deployed.get_headers()["ETag"], "tls", data=data)
        return f"{name}: replaced"

    targets = json.loads(environment["TARGETS"])
    if len(targets) == 1:
        print(synchronize(targets[0]))
    else:
        with ThreadPoolExecutor(max_workers=8) as pool:
            for line in pool.map(synchronize, targets):
                print(line)


if __name__ == "__main__":
    main()
