# The job and its environment. What it may do is in access.tf, what starts it in events.tf.

locals {
  # crn:v1:bluemix:public:SERVICE:REGION:a/ACCOUNT:INSTANCE::
  secrets_manager_region     = split(":", var.secrets_manager_crn)[5]
  secrets_manager_id         = split(":", var.secrets_manager_crn)[7]
  event_notifications_region = split(":", var.event_notifications_crn)[5]
  event_notifications_id     = split(":", var.event_notifications_crn)[7]

  job_project_id = var.job_project_id == null ? var.project_id : var.job_project_id
  project_ids    = toset([for t in var.targets : t.project_id == null ? var.project_id : t.project_id])
  description    = "made by the Terraform module of sm-tls-sync for job ${var.name} of project ${local.job_project_id}"

  targets = [for t in var.targets : merge(
    { secret_id = t.secret_id, tls_secret = t.tls_secret },
    { for key in ["project_id", "region", "restart_apps", "hold"] : key => t[key] if t[key] != null },
  )]
  targets_json = jsonencode(local.targets)

  # A variable holds at most 128 KiB: longer lists are mounted as a file. The length is that of the JSON,
  # but known while planning even if a certificate is created in the same run: every id has 36 characters.
  targets_length = length(jsonencode([for t in local.targets : merge(t, { secret_id = "00000000-0000-0000-0000-000000000000" })]))
  mounted        = local.targets_length > 100000
}

data "ibm_code_engine_project" "job" {
  project_id = local.job_project_id
}

resource "ibm_code_engine_config_map" "environment" {
  project_id = local.job_project_id
  name       = "${var.name}-config"
  data = merge(
    var.environment,
    {
      SECRETS_MANAGER_URL = "https://${local.secrets_manager_id}.private.${local.secrets_manager_region}.secrets-manager.appdomain.cloud"
      IAM_PROFILE_ID      = ibm_iam_trusted_profile.job.id
      PROJECT_ID          = var.project_id
    },
    local.mounted ? { TARGETS_FILE = "/etc/sm-tls-sync/targets.json" } : { TARGETS = local.targets_json },
  )
}

resource "ibm_code_engine_config_map" "targets" {
  count      = local.mounted ? 1 : 0
  project_id = local.job_project_id
  name       = "${var.name}-targets"
  data       = { "targets.json" = local.targets_json }
}

resource "ibm_code_engine_job" "job" {
  project_id      = local.job_project_id
  name            = var.name
  image_reference = var.image
  image_secret    = var.image_secret

  # the token that the trusted profile is assumed with
  run_compute_resource_token_enabled = true

  # A reference: variables of the job itself count against the 10 KiB of a job run.
  run_env_variables {
    type      = "config_map_full_reference"
    reference = ibm_code_engine_config_map.environment.name
  }

  dynamic "run_volume_mounts" {
    for_each = ibm_code_engine_config_map.targets
    content {
      type       = "config_map"
      reference  = run_volume_mounts.value.name
      mount_path = "/etc/sm-tls-sync"
    }
  }

  run_mode            = "task"
  run_service_account = "default"
  scale_array_spec    = "0"
  scale_retry_limit   = 2

  # over all attempts
  scale_max_execution_time = 3 * tonumber(lookup(var.environment, "DEADLINE", "120")) + 60

  # the smallest pair that Code Engine offers
  scale_cpu_limit               = "0.125"
  scale_memory_limit            = "0.25G"
  scale_ephemeral_storage_limit = "400M"
}
