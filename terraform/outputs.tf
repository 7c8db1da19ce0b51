output "job_name" {
  description = "Name of the job."
  value       = ibm_code_engine_job.job.name
}

output "profile_id" {
  description = "Id of the trusted profile of the job, for policies of your own."
  value       = ibm_iam_trusted_profile.job.id
}

output "schedule" {
  description = "When the daily reconcile runs, UTC."
  value       = local.schedule
}

output "cron_command" {
  description = "With `daily_run = \"cli\"`: the command that makes the daily run. Otherwise null."
  value       = local.timer ? null : "ibmcloud target -r ${data.ibm_code_engine_project.job.region} && ibmcloud ce project select --id ${local.job_project_id} && ibmcloud ce subscription cron create --name ${var.name}-reconcile --destination ${var.name} --destination-type job --schedule '${local.schedule}' --time-zone UTC --data '{\"action\":\"reconcile\"}' --content-type application/json"
}

output "run_commands" {
  description = "Commands that start the job: `check` tests every permission separately, `dry_run` shows what a run would do, `run` reconciles all targets."
  value = {
    for kind, flags in { check = "--env CHECK=true ", dry_run = "--env DRY_RUN=true ", run = "" } :
    kind => "ibmcloud target -r ${data.ibm_code_engine_project.job.region} && ibmcloud ce project select --id ${local.job_project_id} && ibmcloud ce jobrun submit --job ${var.name} ${flags}--env OUTPUT=text --wait"
  }
}
