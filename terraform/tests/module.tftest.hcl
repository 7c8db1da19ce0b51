# `terraform init && terraform test`: plans and applies the module with simulated providers. No account needed.

mock_provider "ibm" {
  mock_data "ibm_code_engine_project" {
    defaults = {
      crn    = "crn:v1:bluemix:public:codeengine:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:5f2a8c61-47de-4b90-a3f8-19c6e07d25b4::"
      region = "eu-de"
    }
  }
}

mock_provider "ibm" {
  alias = "event_notifications"
  mock_data "ibm_en_sources" {
    defaults = {
      sources = [
        {
          id                  = "timer"
          type                = "periodic-timer"
          name                = ""
          description         = ""
          enabled             = false
          store_notifications = false
          topic_count         = 0
          updated_at          = ""
        },
      ]
    }
  }
  mock_data "ibm_en_destinations" {
    defaults = {
      destinations = [
        {
          id                    = "mail"
          type                  = "smtp_ibm"
          name                  = ""
          description           = ""
          collect_failed_events = false
          subscription_count    = 0
          subscription_names    = []
          updated_at            = ""
        },
      ]
    }
  }
}

mock_provider "time" {}

variables {
  secrets_manager_crn     = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31::"
  secret_group_ids        = ["0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94"]
  event_notifications_crn = "crn:v1:bluemix:public:event-notifications:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:b1d7a3c8-62f4-4e09-95ab-3c8e07d146f2::"
  register                = true
  project_id              = "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"
  image                   = "de.icr.io/namespace/sm-tls-sync:0.1.0"
  targets                 = [{ secret_id = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", tls_secret = "shop-tls" }]
}

run "one_target" {
  assert {
    condition     = ibm_code_engine_config_map.environment.data.TARGETS == "[{\"secret_id\":\"2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852\",\"tls_secret\":\"shop-tls\"}]"
    error_message = "The job gets other targets."
  }
  assert {
    condition     = ibm_code_engine_job.job.run_compute_resource_token_enabled && ibm_code_engine_job.job.scale_max_execution_time == 420
    error_message = "The job has other settings."
  }
  assert {
    condition     = ibm_en_topic.timer[0].sources[0].rules[0].event_schedule_filter[0].expression == output.schedule
    error_message = "The timer has another schedule."
  }
}

run "many_targets_and_all_options" {
  variables {
    targets        = [for n in range(1000) : { secret_id = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", tls_secret = "shop-${n}", restart_apps = ["auto"], hold = false }]
    environment    = { PROBE = "require" }
    existing_role  = "SmTlsSecretUpdater"
    daily_run      = "cli"
    alert_emails   = ["ops@example.com"]
    cloud_logs_crn = "crn:v1:bluemix:public:logs:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:c4f90a17-8d2e-4b63-9a75-e01b3d68f2c5::"
  }
  assert {
    condition     = length(jsondecode(ibm_code_engine_config_map.targets[0].data["targets.json"])) == 1000 && ibm_code_engine_job.job.run_volume_mounts[0].reference == "sm-tls-sync-targets"
    error_message = "The targets are not mounted."
  }
  assert {
    condition     = length(ibm_en_topic.timer) == 0 && output.cron_command != null
    error_message = "There is no command for the daily run."
  }
  assert {
    condition     = length(ibm_en_subscription_email.alerts) == 2
    error_message = "Mail needs two subscriptions."
  }
}

run "secrets_manager_is_not_registered" {
  command = plan
  variables {
    register = false
  }
  expect_failures = [data.ibm_en_sources.all]
}

run "one_tls_secret_twice" {
  command = plan
  variables {
    targets = [
      { secret_id = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", tls_secret = "shop-tls" },
      { secret_id = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", tls_secret = "shop-tls", project_id = "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4" },
    ]
  }
  expect_failures = [var.targets]
}
