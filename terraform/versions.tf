terraform {
  # variables whose validation looks at another variable
  required_version = ">= 1.9.0"

  required_providers {
    ibm = {
      source = "IBM-Cloud/ibm"
      # store_notifications of the timer is required from 2.3.0 on, and unknown before
      version = ">= 2.3.0, < 3.0.0"
      # A provider works in one region. Event Notifications may be in another one than the job.
      configuration_aliases = [ibm.event_notifications]
    }
    time = {
      source  = "hashicorp/time"
      version = ">= 0.9.1, < 1.0.0"
    }
  }
}
