# One certificate, one TLS secret, everything in one region. The job gets a project of its own.

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
  region = var.region
}

variable "region" {
  description = "Region of Code Engine and Event Notifications."
  type        = string
  default     = "eu-de"
}

variable "resource_group" {
  description = "Resource group of the job's project."
  type        = string
  default     = "Default"
}

variable "secrets_manager" {
  description = "Name of the Secrets Manager instance."
  type        = string
}

variable "event_notifications" {
  description = "Name of the Event Notifications instance."
  type        = string
}

variable "project_id" {
  description = "Id of the Code Engine project that holds the TLS secret."
  type        = string
}

variable "secret_group_id" {
  description = "Id of the secret group of the certificate."
  type        = string
}

variable "secret_id" {
  description = "Id of the certificate in Secrets Manager."
  type        = string
}

variable "tls_secret" {
  description = "Name of the TLS secret in Code Engine."
  type        = string
}

variable "image" {
  description = "Container image of the job."
  type        = string
}

data "ibm_resource_group" "job" {
  name = var.resource_group
}

data "ibm_resource_instance" "secrets_manager" {
  name    = var.secrets_manager
  service = "secrets-manager"
}

data "ibm_resource_instance" "event_notifications" {
  name    = var.event_notifications
  service = "event-notifications"
}

resource "ibm_code_engine_project" "job" {
  name              = "sm-tls-sync"
  resource_group_id = data.ibm_resource_group.job.id
}

module "sm_tls_sync" {
  source = "../.."
  providers = {
    ibm                     = ibm
    ibm.event_notifications = ibm
  }

  secrets_manager_crn     = data.ibm_resource_instance.secrets_manager.crn
  secret_group_ids        = [var.secret_group_id]
  event_notifications_crn = data.ibm_resource_instance.event_notifications.crn
  register                = true
  project_id              = var.project_id
  job_project_id          = ibm_code_engine_project.job.project_id
  image                   = var.image

  targets = [
    { secret_id = var.secret_id, tls_secret = var.tls_secret },
  ]
}

output "run_commands" {
  description = "Commands that start the job."
  value       = module.sm_tls_sync.run_commands
}
