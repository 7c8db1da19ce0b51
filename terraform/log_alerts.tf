# Alerts of IBM Cloud Logs on the report line that each run writes: scripts/alerts as resources.

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

resource "ibm_logs_alert_definition" "no_good_run" {
  count         = local.cloud_logs ? 1 : 0
  instance_id   = local.cloud_logs_id
  region        = local.cloud_logs_region
  name          = "${var.name}: no good run for a day and a half"
  description   = "The daily reconcile of sm-tls-sync has not ended well for 36 hours, or has not run at all. Look for its last report; if there is none, at the cron subscription and at the quota of job runs."
  enabled       = true
  priority      = "p1"
  type          = "logs_threshold"
  phantom_mode  = false
  group_by_keys = []

  incidents_settings {
    minutes   = 1440
    notify_on = "triggered_and_resolved"
  }

  logs_threshold {
    condition_type      = "less_than"
    evaluation_delay_ms = 600000
    logs_filter {
      simple_filter {
        lucene_query = "codeengine.component.keyword:\"${var.name}\" AND message.trigger.keyword:\"${local.trigger}\" AND message.status.numeric:0 AND message.dry_run:false"
      }
    }
    notification_payload_filter = []
    rules {
      condition {
        threshold = 1
        time_window {
          logs_time_window_specific_value = "hours_36"
        }
      }
      override {
        priority = "p1"
      }
    }
    undetected_values_management {
      auto_retire_timeframe     = "never_or_unspecified"
      trigger_undetected_values = true
    }
  }

  notification_group {
    group_by_keys = []
    webhooks {
      integration {
        integration_id = ibm_logs_outgoing_webhook.alerts[0].external_id
      }
      minutes   = 1440
      notify_on = "triggered_and_resolved"
    }
  }
}

resource "ibm_logs_alert_definition" "run_failed" {
  count         = local.cloud_logs ? 1 : 0
  instance_id   = local.cloud_logs_id
  region        = local.cloud_logs_region
  name          = "${var.name}: a run failed"
  description   = "A run of sm-tls-sync ended with a status other than 0. The fields status, message, error and targets[].reason of the report say why; docs/runbook.md and docs/reasons.md of sm-tls-sync say what to do."
  enabled       = true
  priority      = "p2"
  type          = "logs_immediate_or_unspecified"
  phantom_mode  = false
  group_by_keys = []

  incidents_settings {
    minutes   = 60
    notify_on = "triggered_only_unspecified"
  }

  logs_immediate {
    logs_filter {
      simple_filter {
        lucene_query = "codeengine.component.keyword:\"${var.name}\" AND message.status.numeric:[1 TO *]"
      }
    }
    notification_payload_filter = ["message.message", "message.status", "message.retryable"]
  }

  notification_group {
    group_by_keys = []
    webhooks {
      integration {
        integration_id = ibm_logs_outgoing_webhook.alerts[0].external_id
      }
      minutes   = 60
      notify_on = "triggered_only_unspecified"
    }
  }
}

resource "ibm_logs_alert_definition" "expires_soon" {
  count         = local.cloud_logs ? 1 : 0
  instance_id   = local.cloud_logs_id
  region        = local.cloud_logs_region
  name          = "${var.name}: a served certificate is near its end"
  description   = "Secrets Manager holds no newer certificate than one that ends soon, so its renewal fails. Look at the secret in Secrets Manager and at its last order."
  enabled       = true
  priority      = "p2"
  type          = "logs_immediate_or_unspecified"
  phantom_mode  = false
  group_by_keys = []

  incidents_settings {
    minutes   = 1440
    notify_on = "triggered_only_unspecified"
  }

  logs_immediate {
    logs_filter {
      simple_filter {
        lucene_query = "codeengine.component.keyword:\"${var.name}\" AND message.targets.findings.code.keyword:\"expires-soon\""
      }
    }
    notification_payload_filter = ["message.message", "message.targets"]
  }

  notification_group {
    group_by_keys = []
    webhooks {
      integration {
        integration_id = ibm_logs_outgoing_webhook.alerts[0].external_id
      }
      minutes   = 1440
      notify_on = "triggered_only_unspecified"
    }
  }
}
