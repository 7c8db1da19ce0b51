# What starts the job: rotations that Secrets Manager reports, and a timer once a day.

data "ibm_en_sources" "all" {
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id

  lifecycle {
    postcondition {
      condition     = var.register || contains(self.sources[*].id, var.secrets_manager_crn)
      error_message = "Secrets Manager is not registered at this Event Notifications instance. Set register = true; or, where Terraform does not reach Secrets Manager, ask someone with access to run: ibmcloud iam authorization-policy-create secrets-manager event-notifications \"Event Source Manager\" --source-service-instance-id ${local.secrets_manager_id} --target-service-instance-id ${local.event_notifications_id} && ibmcloud secrets-manager notifications-registration-create --service-url https://${local.secrets_manager_id}.private.${local.secrets_manager_region}.secrets-manager.appdomain.cloud --event-notifications-instance-crn ${var.event_notifications_crn} --event-notifications-source-name ${var.name}"
    }
  }
}

resource "ibm_sm_en_registration" "registration" {
  count                                  = var.register ? 1 : 0
  instance_id                            = local.secrets_manager_id
  region                                 = local.secrets_manager_region
  endpoint_type                          = var.secrets_manager_endpoint_type
  event_notifications_instance_crn       = var.event_notifications_crn
  event_notifications_source_name        = var.name
  event_notifications_source_description = "life cycle of secrets"

  depends_on = [time_sleep.authorizations]
}

resource "ibm_en_destination_ce" "job" {
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
  name          = var.name
  description   = local.description
  type          = "ibmce"

  config {
    params {
      type        = "job"
      project_crn = data.ibm_code_engine_project.job.crn
      job_name    = ibm_code_engine_job.job.name
    }
  }

  depends_on = [time_sleep.authorizations]
}

# No narrower filter: one event may name several secrets, and the job knows which are its own.
resource "ibm_en_topic" "rotations" {
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
  name          = var.name
  description   = local.description

  sources {
    id = var.secrets_manager_crn
    rules {
      enabled           = true
      event_type_filter = "$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'"
    }
    rules {
      enabled           = true
      event_type_filter = "$.type == 'com.ibm.cloud.secrets-manager.test_event'"
    }
  }

  depends_on = [ibm_sm_en_registration.registration]
}

# No template: the job reads the whole event.
resource "ibm_en_subscription_ce" "rotations" {
  provider       = ibm.event_notifications
  instance_guid  = local.event_notifications_id
  name           = var.name
  description    = local.description
  topic_id       = ibm_en_topic.rotations.topic_id
  destination_id = ibm_en_destination_ce.job.destination_id
}

# The daily run. An event of the timer says nothing about certificates: the job takes it as a wake-up call
# and reconciles all targets.
locals {
  timer = var.daily_run == "timer"
  # spreads the runs of many installations
  minute_of_the_day = parseint(substr(sha256(local.job_project_id), 0, 8), 16) % 300
  schedule          = var.schedule == null ? "${local.minute_of_the_day % 60} ${1 + floor(local.minute_of_the_day / 60)} * * *" : var.schedule
  timer_id          = one([for source in data.ibm_en_sources.all.sources : source.id if source.type == "periodic-timer"])
}

# Every instance has this source; at first it is switched off.
resource "ibm_en_ibmsource" "timer" {
  count               = local.timer ? 1 : 0
  provider            = ibm.event_notifications
  instance_guid       = local.event_notifications_id
  source_id           = local.timer_id
  enabled             = true
  store_notifications = false
}

resource "ibm_en_topic" "timer" {
  count         = local.timer ? 1 : 0
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
  name          = "${var.name}-reconcile"
  description   = local.description

  sources {
    id = ibm_en_ibmsource.timer[0].source_id
    rules {
      enabled = true
      event_schedule_filter {
        expression = local.schedule
      }
    }
  }
}

resource "ibm_en_subscription_ce" "timer" {
  count          = local.timer ? 1 : 0
  provider       = ibm.event_notifications
  instance_guid  = local.event_notifications_id
  name           = "${var.name}-reconcile"
  description    = local.description
  topic_id       = ibm_en_topic.timer[0].topic_id
  destination_id = ibm_en_destination_ce.job.destination_id
}
