# Who may do what: the job in Secrets Manager and Code Engine, the services among themselves.

resource "ibm_iam_trusted_profile" "job" {
  name        = var.name
  description = local.description
}

# This job of this project may assume the profile, and nothing else.
resource "ibm_iam_trusted_profile_link" "job" {
  profile_id = ibm_iam_trusted_profile.job.id
  name       = "ce-job-${var.name}"
  cr_type    = "CE"

  link {
    crn            = data.ibm_code_engine_project.job.crn
    component_type = "job"
    component_name = var.name
  }
}

# IBM cannot scope this to a single secret.
resource "ibm_iam_trusted_profile_policy" "secrets_manager" {
  for_each    = var.secret_group_ids
  iam_id      = ibm_iam_trusted_profile.job.iam_id
  roles       = ["SecretsReader"]
  description = local.description

  resources {
    service              = "secrets-manager"
    resource_instance_id = local.secrets_manager_id
    resource_type        = "secret-group"
    resource             = each.value
  }
}

# The smallest role that allows the job to replace what exists: `update` neither creates nor deletes.
resource "ibm_iam_custom_role" "updater" {
  count        = var.existing_role == null ? 1 : 0
  name         = "SmTlsSecretUpdater"
  display_name = "SmTlsSecretUpdater"
  description  = "Reads and replaces what exists in a Code Engine project; neither creates nor deletes."
  service      = "codeengine"
  actions = [
    "codeengine.tenant.read",
    "codeengine.tenant.entities.read",
    "codeengine.tenant.entities.update",
  ]
}

resource "ibm_iam_trusted_profile_policy" "code_engine" {
  for_each    = local.project_ids
  iam_id      = ibm_iam_trusted_profile.job.iam_id
  roles       = [var.existing_role == null ? ibm_iam_custom_role.updater[0].display_name : var.existing_role]
  description = local.description

  resources {
    service              = "codeengine"
    resource_instance_id = each.value
  }
}

resource "ibm_iam_authorization_policy" "secrets_manager" {
  count                       = var.register ? 1 : 0
  source_service_name         = "secrets-manager"
  source_resource_instance_id = local.secrets_manager_id
  target_service_name         = "event-notifications"
  target_resource_instance_id = local.event_notifications_id
  roles                       = ["Event Source Manager"]
  description                 = local.description
}

# Both roles: with only one of them, jobs do not start.
resource "ibm_iam_authorization_policy" "code_engine" {
  count                       = contains(var.existing_authorizations, "code-engine") ? 0 : 1
  source_service_name         = "event-notifications"
  source_resource_instance_id = local.event_notifications_id
  target_service_name         = "codeengine"
  target_resource_instance_id = local.job_project_id
  roles                       = ["Viewer", "Writer"]
  description                 = local.description
}

resource "ibm_iam_authorization_policy" "cloud_logs" {
  count                       = var.cloud_logs_crn == null || contains(var.existing_authorizations, "cloud-logs") ? 0 : 1
  source_service_name         = "logs"
  source_resource_instance_id = local.cloud_logs_id
  target_service_name         = "event-notifications"
  target_resource_instance_id = local.event_notifications_id
  roles                       = ["Reader", "Event Source Manager"]
  description                 = local.description
}

# A new authorization is not known everywhere at once.
resource "time_sleep" "authorizations" {
  create_duration = "30s"
  triggers = {
    authorizations = join(" ", concat(
      ibm_iam_authorization_policy.secrets_manager[*].id,
      ibm_iam_authorization_policy.code_engine[*].id,
      ibm_iam_authorization_policy.cloud_logs[*].id,
    ))
  }
}
