# Alerts of IBM Cloud Logs on the report line that each run writes: the definitions are files of scripts/alerts.

locals {
  alerts = {
    for name in local.cloud_logs ? ["no-good-run", "run-failed", "expires-soon", "replaced"] : [] :
    name => jsondecode(file("${path.module}/../scripts/alerts/${name}.json"))
  }
}

resource "ibm_logs_outgoing_webhook" "alerts" {
  count       = local.cloud_logs ? 1 : 0
  instance_id = local.cloud_logs_id
  region      = local.cloud_logs_region
  name        = "${var.name} to Event Notifications"
  type        = "ibm_event_notifications"

  ibm_event_notifications {
    event_notifications_instance_id = local.event_notifications_id
    region_id                       = local.event_notifications_region
    source_id                       = var.cloud_logs_crn
    source_name                     = "${var.name} to Event Notifications"
  }

  depends_on = [time_sleep.authorizations]
}

resource "ibm_logs_alert_definition" "alerts" {
  for_each      = local.alerts
  instance_id   = local.cloud_logs_id
  region        = local.cloud_logs_region
  name          = replace(each.value.name, "sm-tls-sync", var.name)
  description   = each.value.description
  enabled       = each.value.enabled
  priority      = each.value.priority
  type          = each.value.type
  phantom_mode  = each.value.phantom_mode
  group_by_keys = each.value.group_by_keys

  incidents_settings {
    minutes   = each.value.incidents_settings.minutes
    notify_on = each.value.incidents_settings.notify_on
  }

  dynamic "logs_threshold" {
    for_each = try([each.value.logs_threshold], [])
    content {
      condition_type      = logs_threshold.value.condition_type
      evaluation_delay_ms = logs_threshold.value.evaluation_delay_ms
      logs_filter {
        simple_filter {
          # the files name the trigger of setup.sh's daily run
          lucene_query = replace(replace(logs_threshold.value.logs_filter.simple_filter.lucene_query, "sm-tls-sync", var.name), "\"cron\"", "\"${local.trigger}\"")
        }
      }
      notification_payload_filter = logs_threshold.value.notification_payload_filter
      rules {
        condition {
          threshold = logs_threshold.value.rules[0].condition.threshold
          time_window {
            logs_time_window_specific_value = logs_threshold.value.rules[0].condition.time_window.logs_time_window_specific_value
          }
        }
        override {
          priority = logs_threshold.value.rules[0].override.priority
        }
      }
      undetected_values_management {
        auto_retire_timeframe     = logs_threshold.value.undetected_values_management.auto_retire_timeframe
        trigger_undetected_values = logs_threshold.value.undetected_values_management.trigger_undetected_values
      }
    }
  }

  dynamic "logs_immediate" {
    for_each = try([each.value.logs_immediate], [])
    content {
      logs_filter {
        simple_filter {
          lucene_query = replace(logs_immediate.value.logs_filter.simple_filter.lucene_query, "sm-tls-sync", var.name)
        }
      }
      notification_payload_filter = logs_immediate.value.notification_payload_filter
    }
  }

  notification_group {
    group_by_keys = []
    webhooks {
      integration {
        integration_id = ibm_logs_outgoing_webhook.alerts[0].external_id
      }
      minutes   = each.value.incidents_settings.minutes
      notify_on = each.value.incidents_settings.notify_on
    }
  }
}
