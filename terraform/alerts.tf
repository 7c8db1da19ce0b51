# What people hear of: mail about Secrets Manager's own events, and alerts on the job's logs. The rules and
# queries are those of scripts/alerts.

locals {
  mail              = length(var.alert_emails) > 0
  cloud_logs        = var.cloud_logs_crn != null
  cloud_logs_region = local.cloud_logs ? split(":", var.cloud_logs_crn)[5] : null
  cloud_logs_id     = local.cloud_logs ? split(":", var.cloud_logs_crn)[7] : null
  # the word in the job's report for what started the daily run
  trigger = local.timer ? "wake-up" : "cron"
}

# --- mail ---

data "ibm_en_destinations" "all" {
  count         = local.mail ? 1 : 0
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
}

resource "ibm_en_topic" "alerts" {
  count         = local.mail ? 1 : 0
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
  name          = "${var.name}-alerts"
  description   = "${local.description}, alerts"

  sources {
    id = var.secrets_manager_crn
    rules {
      enabled             = true
      event_type_filter   = "$.type =~ '^com.ibm.cloud.secrets-manager.secret_rotation_(failed|blocked)$'"
      notification_filter = "$.data.secret_type =~ '^(public|imported|private)_cert$'"
    }
    rules {
      enabled             = true
      event_type_filter   = "$.type =~ '^com.ibm.cloud.secrets-manager.secret_(expired|revoked|about_to_expire(:in_(30|10|1|0)_days?)?)$'"
      notification_filter = "$.data.secret_type =~ '^(public|imported|private)_cert$'"
    }
  }

  depends_on = [ibm_sm_en_registration.registration]
}

resource "ibm_en_topic" "log_alerts" {
  count         = local.mail && local.cloud_logs ? 1 : 0
  provider      = ibm.event_notifications
  instance_guid = local.event_notifications_id
  name          = "${var.name}-log-alerts"
  description   = "${local.description}, alerts on logs"

  sources {
    id = var.cloud_logs_crn
    rules {
      enabled           = true
      event_type_filter = "$.*"
    }
  }

  # which makes Cloud Logs a source
  depends_on = [ibm_logs_outgoing_webhook.alerts]
}

# The provider ignores a change of `invited`: new addresses need a new subscription.
resource "terraform_data" "alert_emails" {
  input = var.alert_emails
}

resource "ibm_en_subscription_email" "alerts" {
  for_each       = { for topic in concat(ibm_en_topic.alerts, ibm_en_topic.log_alerts) : topic.name => topic.topic_id }
  provider       = ibm.event_notifications
  instance_guid  = local.event_notifications_id
  name           = each.key
  description    = "${local.description}, alerts"
  topic_id       = each.value
  destination_id = one([for d in data.ibm_en_destinations.all[0].destinations : d.id if d.type == "smtp_ibm"])

  attributes {
    invited                  = var.alert_emails
    add_notification_payload = true
    reply_to_mail            = var.alert_emails[0]
    reply_to_name            = "certificates"
    from_name                = "certificates"
  }

  lifecycle {
    replace_triggered_by = [terraform_data.alert_emails]
  }
}
