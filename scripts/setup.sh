#!/usr/bin/env bash
# Installs sm-tls-sync: from a certificate in Secrets Manager to a job that brings each rotation into a
# TLS secret of Code Engine, with the least rights that allow it.
#
# Usage: scripts/setup.sh [--plan] [--yes] [--writer] [--NAME VALUE ...]     (--help tells the names)
# Needs: bash 4.4, jq, openssl; ibmcloud, logged in, with the plug-ins code-engine,
#        event-notifications and secrets-manager.
# Changes: makes what is missing in the account; what is there already stays as it is, so it can be
#        run again at any time, also after a failure. Locally it only targets region, resource group
#        and project of ibmcloud.
# Ends with 0: installed, the run was good; 1: stopped or incomplete (it says where); 2: nothing done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SCRIPT=scripts/setup.sh
PREFIX=SETUP
INPUTS=(
  'region|needed|region of Code Engine, such as eu-de'
  'secrets-manager|needed|Secrets Manager instance, by name or id'
  'certificate|optional; needed without --secret-id|certificate in Secrets Manager, by name'
  'secret-id|optional|certificate by id; with --group-id as well Secrets Manager is not called from here'
  'group-id|optional|id of its secret group'
  'event-notifications|needed|Event Notifications instance, by name or id'
  'project|needed|project of the apps, where the TLS secret is, by name or id'
  'job-project|optional; a project for the job alone is recommended; else the one of the apps|project that the job runs in'
  'tls-secret|needed|TLS secret of Code Engine that follows the certificate'
  "schedule|optional; else once a day at a time made from the project's id; none: no cron|schedule of the reconcile (UTC), five fields"
  'alert-email|optional; else no mail|address that hears when Secrets Manager cannot renew'
  'image|optional; else built from this directory|container image of the job'
  'registry-secret|optional|registry secret of Code Engine for the image'
  'name|optional; else sm-tls-sync|name of the job, and of all that belongs to it'
)
# shellcheck source=lib/common.sh
. scripts/lib/common.sh
# shellcheck source=lib/access.sh
. scripts/lib/access.sh
# shellcheck source=lib/events.sh
. scripts/lib/events.sh
# shellcheck source=lib/job.sh
. scripts/lib/job.sh

usage() {
  cat <<EOF
Usage: $SCRIPT [--plan] [--yes] [--writer] [--NAME VALUE ...]
  --plan                 print what would be made, change nothing
  --yes                  ask nothing
  --writer               give the job the ready-made role Writer instead of a custom role that may only
                         read and update (variable SETUP_WRITER=true)
EOF
  show_inputs
  echo 'What is still missing is asked, if this is a terminal.'
}

# Does a question make sense?
is_asked() {
  case $1 in
    certificate) [ -z "${IN[secret-id]}" ] ;;
    secret-id) [ -z "${IN[certificate]}" ] ;;
    group-id) [ -n "${IN[secret-id]}" ] ;;
    registry-secret) [ -n "${IN[image]}" ] ;;
    *) true ;;
  esac
}

PLAN=false WRITER=${SETUP_WRITER:-false}
take_switch() {
  case $1 in
    --plan) PLAN=true ;;
    --writer) WRITER=true ;;
    *) return 1 ;;
  esac
}

# Everything that can be seen to be wrong without asking anybody, at once.
check_inputs() {
  local name=${IN[name]} uuid='^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' bad=()
  [[ ${IN[region]} =~ ^[a-z]+-[a-z]+$ ]] || bad+=("--region ${IN[region]} is no region, such as eu-de")
  [[ $name =~ ^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$ ]] ||
    bad+=("--name $name: lower case, digits and hyphens, at most 32")
  [[ ${IN[tls-secret]} =~ ^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$ ]] ||
    bad+=("--tls-secret ${IN[tls-secret]}: lower case, digits, hyphens and dots, at most 253")
  [ -n "${IN[certificate]}${IN[secret-id]}" ] || bad+=("--certificate or --secret-id is missing")
  [ -z "${IN[certificate]}" ] || [ -z "${IN[secret-id]}" ] || bad+=("--certificate and --secret-id: give one")
  [ -z "${IN[secret-id]}" ] || [[ ${IN[secret-id]} =~ $uuid ]] || bad+=("--secret-id ${IN[secret-id]} is no UUID")
  [ -z "${IN[group-id]}" ] || [ -n "${IN[secret-id]}" ] || bad+=("--group-id goes with --secret-id")
  [ -z "${IN[group-id]}" ] || [ "${IN[group-id]}" = default ] || [[ ${IN[group-id]} =~ $uuid ]] ||
    bad+=("--group-id ${IN[group-id]} is neither a UUID nor default")
  [ -z "${IN[schedule]}" ] || [ "${IN[schedule]}" = none ] || [[ ${IN[schedule]} =~ ^([-*/,0-9]+ ){4}[-*/,0-9]+$ ]] ||
    bad+=("--schedule ${IN[schedule]} has not five fields, such as '17 3 * * *'")
  [ -z "${IN[alert-email]}" ] || [[ ${IN[alert-email]} =~ ^[^@[:space:]]+@[^@[:space:]]+$ ]] ||
    bad+=("--alert-email ${IN[alert-email]} is no address")
  [ -z "${IN[registry-secret]}" ] || [ -n "${IN[image]}" ] || bad+=("--registry-secret goes with --image")
  [ ${#bad[@]} -eq 0 ] || wrong "${bad[@]}"
}

# Ids of everything that must be there.
look_up() {
  find_instance secrets-manager "${IN[secrets-manager]}" "Secrets Manager instance"
  SM_GUID=$(jq -r .guid <<<"$FOUND")
  SM_CRN=$(jq -r .crn <<<"$FOUND")
  local region
  region=$(cut -d: -f6 <<<"$SM_CRN")
  SM_URL=https://$SM_GUID.$region.secrets-manager.appdomain.cloud
  SM_PRIVATE_URL=https://$SM_GUID.private.$region.secrets-manager.appdomain.cloud
  find_event_notifications
  find_project "${IN[project]}"
  PROJECT=$FOUND PROJECT_NAME=$(jq -r .name <<<"$FOUND") PROJECT_GUID=$(jq -r .guid <<<"$FOUND")
  find_project "${IN[job-project]:-${IN[project]}}"
  JOB_PROJECT=$FOUND JOB_PROJECT_NAME=$(jq -r .name <<<"$FOUND") JOB_PROJECT_GUID=$(jq -r .guid <<<"$FOUND")
  JOB_PROJECT_CRN=$(jq -r .crn <<<"$FOUND")
  find_certificate
}

# SECRET_ID, GROUP_ID, and whether Secrets Manager can be called from here.
find_certificate() {
  local types=public_cert,imported_cert,private_cert found
  SM_IS_REACHED=true SECRET_ID=${IN[secret-id]} GROUP_ID=${IN[group-id]}
  if [ -n "$GROUP_ID" ]; then
    SM_IS_REACHED=false
    return
  fi
  if [ -n "$SECRET_ID" ]; then
    try ibmcloud secrets-manager secret-metadata --service-url "$SM_URL" --id "$SECRET_ID" --output json -q || unreached
    found=$(jq -c '[.]' <<<"$OUT")
  else
    try ibmcloud secrets-manager secrets --service-url "$SM_URL" --secret-types "$types" --all-pages --output json -q || unreached
    found=$(jq -c --arg n "${IN[certificate]}" '[.secrets[]? | select(.name == $n)]' <<<"$OUT")
    case $(jq length <<<"$found") in
      0) wrong "there is no certificate ${IN[certificate]}; there are: $(jq -r '[.secrets[]?.name] | join(", ")' <<<"$OUT")" ;;
      1) ;;
      *) wrong "several certificates are named ${IN[certificate]}: give --secret-id, one of: $(jq -r 'map(.id) | join(", ")' <<<"$found")" ;;
    esac
  fi
  jq -e --arg types "$types" '.[0].secret_type as $t | $types | split(",") | index($t)' <<<"$found" >/dev/null ||
    wrong "secret $SECRET_ID is no certificate but $(jq -r '.[0].secret_type' <<<"$found")"
  SECRET_ID=$(jq -r '.[0].id' <<<"$found")
  GROUP_ID=$(jq -r '.[0].secret_group_id' <<<"$found")
}

unreached() {
  sed 's/^/  /' "$TMP/errors" "$TMP/out" >&2
  wrong "Secrets Manager did not answer at $SM_URL." \
    "If the instance is reached on the private network only, give --secret-id and --group-id."
}

show_plan() {
  cat <<EOF
Plan (what is there already stays):
  authorization  Secrets Manager ${IN[secrets-manager]} may send events to ${IN[event-notifications]} (Event Source Manager)
  registration   of Secrets Manager at Event Notifications
  profile        $NAME, for job $NAME of project $JOB_PROJECT_NAME alone (link)
  policy         SecretsReader on secret group $GROUP_ID of Secrets Manager: every secret of that group
  policy         $ROLE_OF_JOB on project $PROJECT_NAME
  TLS secret     ${IN[tls-secret]} in project $PROJECT_NAME, a self-signed placeholder if there is none
  configmap      $NAME-config in project $JOB_PROJECT_NAME
  job            $NAME in project $JOB_PROJECT_NAME, from ${IN[image]:-this directory}
  authorization  Event Notifications may start jobs of project $JOB_PROJECT_NAME (Viewer, Writer)
  topic          $NAME: rotations of Secrets Manager; destination and subscription for the job
  cron           $SCHEDULE (UTC)
  alerts         ${IN[alert-email]:-none}
  runs           a dry run, then a real one
EOF
  [ "$GROUP_ID" != default ] ||
    echo 'Note: the group "default" follows every policy on the whole instance; a group of its own is better.'
  if [ "$PROJECT_GUID" = "$JOB_PROJECT_GUID" ]; then
    cat <<EOF
Note: whoever may submit job runs in a project (role Writer) can borrow what the job's profile may do, the
private key included. A project for the job alone, with few Writers, is recommended:
  ibmcloud ce project create --name $NAME
and then --job-project $NAME.
EOF
  fi
}

install() {
  authorize secrets-manager "$SM_GUID" event-notifications "$EN_GUID" 'Event Source Manager'
  registration
  trusted_profile
  link "$JOB_PROJECT_CRN"
  grant SecretsReader secrets-manager "$SM_GUID" --resource-type secret-group --resource "$GROUP_ID"
  "$WRITER" || custom_role
  grant "$ROLE_OF_JOB" codeengine "$PROJECT_GUID"
  select_project "$PROJECT"
  tls_secret "${IN[tls-secret]}"
  select_project "$JOB_PROJECT"
  configmap "SECRETS_MANAGER_URL=$SM_PRIVATE_URL" "IAM_PROFILE_ID=$PROFILE_ID" "SECRET_ID=$SECRET_ID" \
    "TLS_SECRET_NAME=${IN[tls-secret]}" "PROJECT_ID=$PROJECT_GUID"
  job "${IN[image]}" "${IN[registry-secret]}"
  authorize event-notifications "$EN_GUID" codeengine "$JOB_PROJECT_GUID" Viewer,Writer
  destination
  if "$REGISTERED"; then
    topic "$NAME" "$MARKER" "$(rules secret_rotated test_event)"
    subscription "$NAME" "$MARKER" "$TOPIC_ID" "$DESTINATION_ID"
    [ -z "${IN[alert-email]}" ] || alerts "${IN[alert-email]}"
  else
    LEFT+=("Then $SCRIPT makes topic and subscription, which need the registration: run it again.")
  fi
  [ "$SCHEDULE" = none ] || cron "$SCHEDULE"
}

runs() {
  run_job dry --env DRY_RUN=true
  if [ "$STATUS" = 0 ]; then
    if agreed 'Run it for real now?'; then
      run_job real
    else
      LEFT+=("The real run: ibmcloud ce jobrun submit --job $NAME")
    fi
  fi
  show_points
  if [ "$STATUS" != 0 ]; then
    LEFT+=("The run failed. README.md tells of each status and reason what to do; then run $SCRIPT again.")
  fi
}

read_inputs "$@"
check_tools jq openssl
complete_inputs
: "${IN[name]:=sm-tls-sync}"
check_inputs
NAME=${IN[name]}
LEFT=()
ROLE_OF_JOB=$ROLE
! "$WRITER" || ROLE_OF_JOB=Writer
look_up
SCHEDULE=${IN[schedule]:-$(spread_schedule "$JOB_PROJECT_GUID")}
MARKER=$(marker "$NAME" "$JOB_PROJECT_GUID")
show_plan
if "$PLAN"; then
  exit 0
fi
agreed 'Make it?' || wrong 'nothing was done'
echo
install
echo
runs
echo
if [ ${#LEFT[@]} -gt 0 ]; then
  printf '%s\n' 'Not complete:' "${LEFT[@]}"
  exit 1
fi
cat <<EOF
Installed. No event tells of a failed run: have an alert on log lines of level error of component $NAME.
See scripts/alerts/README.md. Looks without a change, any time:
  what a run would do       ibmcloud ce jobrun submit --job $NAME --env DRY_RUN=true --wait
  every right by itself     ibmcloud ce jobrun submit --job $NAME --env CHECK=true --wait
Uninstall: scripts/teardown.sh --region ${IN[region]} --event-notifications ${IN[event-notifications]} \\
  --job-project $JOB_PROJECT_NAME --name $NAME
EOF
