# Many certificates for apps in two projects and two regions. The targets are a file, the same that
# `scripts/setup.sh --targets` takes. Event Notifications is in another region than the job, Secrets Manager
# is registered there already, and people get alerts.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    ibm = {
      source  = "IBM-Cloud/ibm"
      version = ">= 2.3.0, < 3.0.0"
    }
  }
}

# The API key comes from the environment: export IC_API_KEY=...
provider "ibm" {
  region = "eu-gb"
}

provider "ibm" {
  alias  = "frankfurt"
  region = "eu-de"
}

module "sm_tls_sync" {
  source = "../.."
  providers = {
    ibm                     = ibm
    ibm.event_notifications = ibm.frankfurt
  }

  secrets_manager_crn = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31::"
  secret_group_ids = [
    "0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94",
    "8e27c4d1-5b90-4f6a-a3d8-17c06e92b54f",
  ]
  event_notifications_crn = "crn:v1:bluemix:public:event-notifications:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:b1d7a3c8-62f4-4e09-95ab-3c8e07d146f2::"

  project_id     = "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"
  job_project_id = "91c3e5d7-0a2b-4c4d-8e6f-7a8b9c0d1e2f"
  targets        = jsondecode(file("${path.module}/targets.json"))
  image          = "de.icr.io/NAMESPACE/sm-tls-sync:0.1.0"
  image_secret   = "sm-tls-sync-registry"
  environment    = { PROBE = "require" }

  # the role exists: another installation in this account made it
  existing_role = "SmTlsSecretUpdater"

  schedule       = "17 3 * * *"
  alert_emails   = ["ops@example.com"]
  cloud_logs_crn = "crn:v1:bluemix:public:logs:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:c4f90a17-8d2e-4b63-9a75-e01b3d68f2c5::"
}

output "run_commands" {
  description = "Commands that start the job."
  value       = module.sm_tls_sync.run_commands
}
