variable "name" {
  description = "Name of the job, and of everything that belongs to it."
  type        = string
  default     = "sm-tls-sync"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$", var.name))
    error_message = "name: lower case letters, digits and hyphens, at most 32."
  }
}

variable "secrets_manager_crn" {
  description = "CRN of the Secrets Manager instance."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^crn:v1:bluemix:public:secrets-manager:[a-z]+-[a-z]+:a/[0-9a-f]+:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}::$", var.secrets_manager_crn))
    error_message = "secrets_manager_crn: expected crn:v1:bluemix:public:secrets-manager:REGION:a/ACCOUNT:INSTANCE::, as 'ibmcloud resource service-instance NAME' shows it."
  }
}

variable "secret_group_ids" {
  description = "Ids of the secret groups of the certificates. The job may read every secret of these groups."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.secret_group_ids) > 0 && alltrue([for id in var.secret_group_ids : can(regex("^(default|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", id))])
    error_message = "secret_group_ids: at least one; each is a UUID, or the word default."
  }
}

variable "event_notifications_crn" {
  description = "CRN of the Event Notifications instance, in the same account."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^crn:v1:bluemix:public:event-notifications:[a-z]+-[a-z]+:a/[0-9a-f]+:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}::$", var.event_notifications_crn))
    error_message = "event_notifications_crn: expected crn:v1:bluemix:public:event-notifications:REGION:a/ACCOUNT:INSTANCE::, as 'ibmcloud resource service-instance NAME' shows it."
  }
}

variable "project_id" {
  description = "Id of the Code Engine project of the TLS secrets, for targets without a `project_id` of their own."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.project_id))
    error_message = "project_id: expected a UUID, as 'ibmcloud ce project get --name NAME' shows it."
  }
}

variable "job_project_id" {
  description = "Id of the Code Engine project that the job runs in, in the region of the provider. A project for the job alone is recommended. If null: `project_id`."
  type        = string
  default     = null

  validation {
    condition     = var.job_project_id == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.job_project_id))
    error_message = "job_project_id: expected a UUID, as 'ibmcloud ce project get --name NAME' shows it."
  }
}

variable "targets" {
  description = "What the job copies: `secret_id` (certificate in Secrets Manager) to `tls_secret` (in Code Engine; it must exist), and where needed `project_id`, `region`, `restart_apps` (names, or `auto`) and `hold`."
  type = list(object({
    secret_id    = string
    tls_secret   = string
    project_id   = optional(string)
    region       = optional(string)
    restart_apps = optional(list(string))
    hold         = optional(bool)
  }))
  nullable = false

  validation {
    condition     = length(var.targets) > 0
    error_message = "targets: at least one."
  }
  validation {
    condition     = alltrue([for t in var.targets : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", t.secret_id))])
    error_message = "targets: each secret_id is a UUID."
  }
  validation {
    condition     = alltrue([for t in var.targets : can(regex("^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$", t.tls_secret))])
    error_message = "targets: each tls_secret has lower case letters, digits, hyphens and dots, at most 253."
  }
  validation {
    condition     = alltrue([for t in var.targets : t.project_id == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", t.project_id))])
    error_message = "targets: each project_id is a UUID."
  }
  validation {
    condition     = alltrue([for t in var.targets : t.region == null || can(regex("^[a-z]+-[a-z]+$", t.region))])
    error_message = "targets: each region is a region such as eu-de."
  }
  validation {
    condition     = alltrue(flatten([for t in var.targets : [for app in coalesce(t.restart_apps, []) : can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", app))]]))
    error_message = "targets: restart_apps are names of apps, or auto."
  }
  validation {
    condition     = length(var.targets) == length(distinct([for t in var.targets : [t.tls_secret, t.project_id == null ? var.project_id : t.project_id]]))
    error_message = "targets: two of them have the same TLS secret."
  }
}

variable "image" {
  description = "Container image of the job, such as de.icr.io/NAMESPACE/sm-tls-sync:0.1.0."
  type        = string
  nullable    = false
}

variable "image_secret" {
  description = "Name of the registry secret of Code Engine for the image, in the project of the job. Null for a public image."
  type        = string
  default     = null
}

variable "environment" {
  description = "Further environment variables of the job, such as { PROBE = \"require\" }."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = length(setintersection(keys(var.environment), [
      "SECRETS_MANAGER_URL", "IAM_PROFILE_ID", "PROJECT_ID", "SECRET_ID", "TLS_SECRET_NAME", "TARGETS", "TARGETS_FILE",
    ])) == 0
    error_message = "environment: SECRETS_MANAGER_URL, IAM_PROFILE_ID, PROJECT_ID and the targets come from other inputs."
  }
  validation {
    condition     = can(regex("^[1-9][0-9]*$", lookup(var.environment, "DEADLINE", "120")))
    error_message = "environment: DEADLINE is a number of seconds."
  }
}

variable "existing_role" {
  description = "Display name of a role for the job on Code Engine, instead of creating the custom role SmTlsSecretUpdater. An account has that role once: a second installation passes SmTlsSecretUpdater. Writer works too, but allows more than the job needs."
  type        = string
  default     = null
}

variable "register" {
  description = "Register Secrets Manager at Event Notifications. Leave it false if it is registered already: destroying a registration breaks the topics of everybody who uses it."
  type        = bool
  default     = false
  nullable    = false
}

variable "secrets_manager_endpoint_type" {
  description = "With `register`: the endpoint of Secrets Manager that Terraform calls, `public` or `private`. If null: what the provider's `visibility` says."
  type        = string
  default     = null

  validation {
    condition     = var.secrets_manager_endpoint_type == null || contains(["public", "private"], coalesce(var.secrets_manager_endpoint_type, "public"))
    error_message = "secrets_manager_endpoint_type: public or private."
  }
}

variable "existing_authorizations" {
  description = "Authorizations that exist already, so that the module does not create them: `code-engine` (Event Notifications may start jobs of the job's project), `cloud-logs` (Cloud Logs may send to Event Notifications)."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.existing_authorizations, ["code-engine", "cloud-logs"])) == 0
    error_message = "existing_authorizations: code-engine, cloud-logs."
  }
}

variable "daily_run" {
  description = "What starts the daily reconcile: `timer` (the Periodic Timer of Event Notifications), or `cli` (the module creates nothing for it; run the command in the output `cron_command`)."
  type        = string
  default     = "timer"
  nullable    = false

  validation {
    condition     = contains(["timer", "cli"], var.daily_run)
    error_message = "daily_run: timer or cli."
  }
}

variable "schedule" {
  description = "When the reconcile runs: minute and hour of a cron expression, UTC, such as `17 3 * * *`. If null: a time between 1 and 6 o'clock, derived from the id of the job's project."
  type        = string
  default     = null

  validation {
    condition     = var.schedule == null || can(regex("^[-*/,0-9]+ [-*/,0-9]+ \\* \\* \\*$", var.schedule))
    error_message = "schedule: expected a minute, an hour and three asterisks, such as '17 3 * * *'."
  }
}

variable "alert_emails" {
  description = "Addresses that get mail when Secrets Manager cannot renew a certificate or one is about to expire; with `cloud_logs_crn`, also when the job fails. Each gets an invitation and must accept it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+$", address))])
    error_message = "alert_emails: each is an e-mail address."
  }
}

variable "cloud_logs_crn" {
  description = "CRN of the IBM Cloud Logs instance that gets the job's logs. The module defines four alerts there: no successful reconcile for 36 hours, a failed run, a certificate near its end, a certificate replaced. If null: no alerts of this kind."
  type        = string
  default     = null

  validation {
    condition     = var.cloud_logs_crn == null || can(regex("^crn:v1:bluemix:public:logs:[a-z]+-[a-z]+:a/[0-9a-f]+:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}::$", var.cloud_logs_crn))
    error_message = "cloud_logs_crn: expected crn:v1:bluemix:public:logs:REGION:a/ACCOUNT:INSTANCE::."
  }
}
