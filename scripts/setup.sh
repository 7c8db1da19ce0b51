#!/usr/bin/env bash
# Installs sm-tls-sync: from certificates in Secrets Manager to a job that copies each renewal into a
# TLS secret of Code Engine, with the least rights that allow it.
#
# Usage: scripts/setup.sh [--plan] [--yes] [--writer] [--NAME VALUE ...]     (--help lists the names)
# Needs: bash 4.4, jq, openssl; ibmcloud (logged in) with the plug-ins code-engine,
#        event-notifications and secrets-manager (docs/install.md).
# Changes: creates what is missing in the account; what exists stays as it is (with --targets, the list
#        of targets is updated). It can be run again at any time, also after a failure. On this machine
#        it only changes the targeted region, resource group and project (--plan, too).
# Ends with 0: installed, the run was good; 1: stopped or incomplete (it says where); 2: nothing done.
set -eu
cd "$(dirname "$0")/.."

SCRIPT=scripts/setup.sh
# shellcheck source=lib/tools.sh
. scripts/lib/tools.sh
PROGRAMS='jq openssl'
PLUGINS='code-engine event-notifications secrets-manager'
# An older bash could not read on.
bash_is_new || need_tools "$PROGRAMS" "$PLUGINS"
set -o pipefail

PREFIX=SETUP
INPUTS=(
  'region|needed|region of Code Engine, such as eu-de'
  'secrets-manager|needed|Secrets Manager instance, by name or id'
  'certificate|needed without --secret-id or --targets|certificate in Secrets Manager, by name'
  'secret-id|instead of --certificate|the certificate by id'
  'group-id|optional; then setup does not call Secrets Manager|id of its secret group (with --targets: ids, comma-separated)'
  'targets|instead of --certificate and --tls-secret|file with many targets: the JSON of TARGETS'
  'event-notifications|needed|Event Notifications instance, by name or id'
  'project|needed|project of the apps, which has the TLS secret, by name or id'
  'job-project|[the same]; one for the job alone is recommended|project that the job runs in'
  'tls-secret|needed without --targets|TLS secret of Code Engine that gets the certificate'
  "schedule|[daily, at a time that depends on the project]; 'none' to skip|schedule of the reconcile (UTC), five fields"
  'alert-email|[none]|address that gets a mail when Secrets Manager cannot renew'
  'image|[built from this directory]|container image of the job'
  'registry-secret|optional|registry secret of Code Engine for the image'
  'name|[sm-tls-sync]|name of the job and of everything that belongs to it'
)
# shellcheck source=lib/inputs.sh
. scripts/lib/inputs.sh
# shellcheck source=lib/calls.sh
. scripts/lib/calls.sh
# shellcheck source=lib/targets.sh
. scripts/lib/targets.sh
# shellcheck source=lib/access.sh
. scripts/lib/access.sh
# shellcheck source=lib/events.sh
. scripts/lib/events.sh
# shellcheck source=lib/job.sh
. scripts/lib/job.sh
# shellcheck source=lib/runs.sh
. scripts/lib/runs.sh

usage() {
  cat <<EOF
Usage: $SCRIPT [--plan] [--yes] [--writer] [--NAME VALUE ...]
  --plan                 say what exists and what is new; change nothing
  --yes                  answer every question with yes
  --writer               give the job the role Writer instead of a custom role
                         that may only read and update (SETUP_WRITER=true)
EOF
  show_inputs
  echo 'On a terminal, setup asks for what is missing and lists the choices.'
}

is_asked() {
  case $1 in
    certificate) [ -z "${IN[secret-id]}${IN[targets]}" ] ;;
    group-id) [ -n "${IN[secret-id]}${IN[targets]}" ] ;;
    tls-secret) [ -z "${IN[targets]}" ] ;;
    registry-secret) [ -n "${IN[image]}" ] ;;
    secret-id | targets) false ;;
    *) true ;;
  esac
}

# What there is to choose from: CHOICES.
choices() {
  local id
  case $1 in
    secrets-manager | event-notifications) list_instances "$1" ;;
    project | job-project) list_instances codeengine ;;
    certificate)
      [ -z "${IN[group-id]}" ] || return 0
      list_instances secrets-manager
      use_secrets_manager
      call_secrets_manager
      mapfile -t CHOICES < <(ask -r 'list | objects | select(.secret_type) | .name')
      return
      ;;
    *) return 0 ;;
  esac
  for id in "${INSTANCES[@]}"; do
    [[ $1 == *project && ${REGION_OF[$id]} != "${IN[region]}" ]] || CHOICES+=("${NAME_OF[$id]}")
  done
}

PLAN=false PLANNING=false WRITER=${SETUP_WRITER:-false}
take_switch() {
  case $1 in
    --plan) PLAN=true ;;
    --writer) WRITER=true ;;
    *) return 1 ;;
  esac
}

# Everything that can be seen to be wrong without calling anything, at once. Sets TARGETS if there is a
# file of them.
check_inputs() {
  local name=${IN[name]} uuid='[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' bad=() other
  local more_groups="(,(default|$uuid))*"
  [[ ${IN[region]} =~ ^[a-z]+-[a-z]+$ ]] || bad+=("--region ${IN[region]} is not a region such as eu-de")
  [[ $name =~ ^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$ ]] ||
    bad+=("--name $name: use lower case, digits and hyphens, at most 32")
  if [ -n "${IN[targets]}" ]; then
    for other in certificate secret-id tls-secret; do
      [ -z "${IN[$other]}" ] || bad+=("--targets and --$other: use one of them")
    done
    read_targets "${IN[targets]}"
  else
    [[ ${IN[tls-secret]} =~ ^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$ ]] ||
      bad+=("--tls-secret ${IN[tls-secret]}: use lower case, digits, hyphens and dots, at most 253")
    [ -z "${IN[certificate]}" ] || [ -z "${IN[secret-id]}" ] || bad+=("--certificate and --secret-id: use one of them")
    [ -z "${IN[secret-id]}" ] || [[ ${IN[secret-id]} =~ ^$uuid$ ]] || bad+=("--secret-id ${IN[secret-id]} is not a UUID")
    [ -z "${IN[group-id]}" ] || [ -n "${IN[secret-id]}" ] || bad+=('--group-id needs --secret-id or --targets')
    more_groups=
  fi
  [ -z "${IN[group-id]}" ] || [[ ${IN[group-id]} =~ ^(default|$uuid)$more_groups$ ]] ||
    bad+=("--group-id ${IN[group-id]} is neither a UUID nor default")
  [ -z "${IN[schedule]}" ] || [ "${IN[schedule]}" = none ] || [[ ${IN[schedule]} =~ ^([-*/,0-9]+ ){4}[-*/,0-9]+$ ]] ||
    bad+=("--schedule ${IN[schedule]} does not have five fields, such as '17 3 * * *'")
  [ -z "${IN[alert-email]}" ] || [[ ${IN[alert-email]} =~ ^[^@[:space:]]+@[^@[:space:]]+$ ]] ||
    bad+=("--alert-email ${IN[alert-email]} is not an address")
  [ -z "${IN[registry-secret]}" ] || [ -n "${IN[image]}" ] || bad+=('--registry-secret needs --image')
  [ ${#bad[@]} -eq 0 ] || wrong "${bad[@]}"
}

# Ids of everything that must exist.
look_up() {
  list_instances secrets-manager
  use_secrets_manager
  find_event_notifications "${IN[event-notifications]}"
  EN_CRN=${CRN_OF[$EN_GUID]}
  list_instances codeengine
  find_instance "${IN[project]}" 'Code Engine project' "${IN[region]}"
  PROJECT=$FOUND
  find_instance "${IN[job-project]:-${IN[project]}}" 'Code Engine project' "${IN[region]}"
  JOB_PROJECT=$FOUND
  find_certificates
  resolve_targets
}

use_secrets_manager() {
  find_instance "${IN[secrets-manager]}" 'Secrets Manager instance' ''
  SM_GUID=$FOUND SM_CRN=${CRN_OF[$FOUND]}
  SM_PRIVATE_URL=https://$SM_GUID.private.${REGION_OF[$FOUND]}.secrets-manager.appdomain.cloud
}

# The certificates of the instance: CERTIFICATE_GROUP by id. Without --targets also TARGETS, with one.
# SM_URL is the address at which Secrets Manager answers from here; empty if it is not called.
declare -A CERTIFICATE_GROUP=()
find_certificates() {
  local rows id group name names='' found=() wanted=${IN[certificate]:-${IN[secret-id]}}
  SM_URL=''
  if [ -z "${IN[group-id]}" ]; then
    call_secrets_manager
    rows=$(ask -r 'list | objects | select(.secret_type) | [.id, .secret_group_id, .name] | join(" ")')
    while read -r id group name; do
      [ -n "$id" ] || continue
      CERTIFICATE_GROUP[$id]=$group
      names+="${names:+, }$name"
      [ "$id" != "$wanted" ] && [ "$name" != "$wanted" ] || found+=("$id")
    done <<<"$rows"
  else
    found=("${IN[secret-id]}")
  fi
  [ -z "${IN[targets]}" ] || return 0
  case ${#found[@]} in
    0) wrong "no certificate $wanted in Secrets Manager; it has: ${names:-none}" ;;
    1) ;;
    *) wrong "there is more than one certificate $wanted: use --secret-id, one of: ${found[*]}" ;;
  esac
  SECRET_ID=${found[0]}
  TARGETS=$(jq -nc --arg secret "$SECRET_ID" --arg name "${IN[tls-secret]}" '[{secret_id: $secret, tls_secret: $name}]')
}

# Lists the certificates, at the public address of the instance, or else at the private one.
call_secrets_manager() {
  local why=()
  begin "certificates of Secrets Manager ${IN[secrets-manager]}" "ibmcloud secrets-manager secrets --service-url $SM_PRIVATE_URL"
  for SM_URL in "${SM_PRIVATE_URL/.private./.}" "$SM_PRIVATE_URL"; do
    if try ibmcloud secrets-manager secrets --service-url "$SM_URL" \
      --secret-types public_cert,imported_cert,private_cert --all-pages --output json -q; then
      cut_to_json
      return
    fi
    why+=("$SM_URL: $(cat "$TMP/errors" "$TMP/out")")
  done
  printf '%s\n' "${why[@]}" >&2
  wrong "Secrets Manager does not answer, neither at its public nor at its private address." \
    "If it has a private address only: run setup on that network, or add --group-id (and --secret-id)." \
    "If its plan is Vault Dedicated: this job needs the plan Standard or Trial."
}

# The steps of the installation, without doing them: what exists already, what is new.
show_plan() {
  PLANNING=true
  echo 'Plan:'
  install
  PLANNING=false
  say 9 '  runs' 'a dry run, then a real one'
}

show_notes() {
  if [[ " ${SECRET_GROUPS[*]} " == *' default '* ]]; then
    say 5 'Note:' 'policies on the whole instance also apply to the group "default"; a group of its own is better.'
  fi
  if [[ " ${PROJECTS[*]} " == *" $JOB_PROJECT "* ]]; then
    cat <<EOF
Note: anyone with the role Writer on a project can submit job runs there, and so
act with the permissions of the job's profile, which can read the private key.
A separate project for the job, with few Writers, is recommended:
  ibmcloud ce project create --name $NAME
and then --job-project $NAME.
EOF
  fi
}

install() {
  local wanted=() group project config
  authorize secrets-manager "$SM_GUID" event-notifications "$EN_GUID" 'Event Source Manager'
  registration "$NAME"
  trusted_profile
  link
  "$WRITER" || custom_role
  for group in "${SECRET_GROUPS[@]}"; do wanted+=("SecretsReader secrets-manager $SM_GUID $group"); done
  for project in "${PROJECTS[@]}"; do wanted+=("$ROLE_OF_JOB codeengine $project"); done
  policies "${wanted[@]}"
  for project in "${PROJECTS[@]}"; do
    # shellcheck disable=SC2086 # names, without spaces
    tls_secrets "$project" ${TLS_SECRETS[$project]}
  done
  select_project "$JOB_PROJECT"
  config=("SECRETS_MANAGER_URL=$SM_PRIVATE_URL" "IAM_PROFILE_ID=$PROFILE_ID" "PROJECT_ID=$PROJECT")
  if [ -z "${IN[targets]}" ]; then
    config+=("SECRET_ID=$SECRET_ID" "TLS_SECRET_NAME=${IN[tls-secret]}")
  elif "$MOUNTED"; then
    targets_configmap "$TARGETS"
    config+=("TARGETS_FILE=$TARGETS_FOLDER/$TARGETS_KEY")
  else
    config+=("TARGETS=$TARGETS")
  fi
  configmap "${config[@]}"
  job "${IN[image]}" "${IN[registry-secret]}" "$MOUNTED"
  authorize event-notifications "$EN_GUID" codeengine "$JOB_PROJECT" Viewer,Writer
  destination "$NAME" "$MARKER" "${CRN_OF[$JOB_PROJECT]}"
  if "$REGISTERED"; then
    topic "$NAME" "$MARKER" "$SM_CRN" "$(rules secret_rotated test_event)"
    subscription "$NAME" "$MARKER" "$TOPIC_ID" "$DESTINATION_ID"
    [ -z "${IN[alert-email]}" ] ||
      mail "$NAME-alerts" "$MARKER, alerts" "$SM_CRN" "$(<scripts/alerts/email-rules.json)" "${IN[alert-email]}"
  fi
  [ "$SCHEDULE" = none ] || cron "$SCHEDULE"
}

runs() {
  run_job dry --env DRY_RUN=true
  if [ "$STATUS" = 0 ]; then
    if agreed 'Run it for real now?'; then
      run_job real
    else
      LEFT+=("The real run: ibmcloud ce jobrun submit --job $NAME --env OUTPUT=text")
    fi
  fi
  show_points
  [ "$STATUS" = 0 ] || LEFT+=("The run failed. docs/runbook.md says what to do for each exit status."
    "Then run $SCRIPT again.")
}

read_inputs "$@"
need_tools "$PROGRAMS" "$PLUGINS"
complete_inputs
: "${IN[name]:=sm-tls-sync}"
check_inputs
NAME=${IN[name]}
ROLE_OF_JOB=$ROLE
! "$WRITER" || ROLE_OF_JOB=Writer
look_up
MOUNTED=false
[ "$(printf %s "$TARGETS" | wc -c)" -le "$LARGE" ] || MOUNTED=true
SCHEDULE=${IN[schedule]:-$(spread_schedule "$JOB_PROJECT")}
MARKER=$(marker "$NAME" "$JOB_PROJECT")
LEFT=()
if "$PLAN" || ! "$YES"; then
  show_plan
fi
show_notes
if [ -n "${IN[targets]}" ]; then
  read_targets_now
  show_changes
fi
if "$PLAN"; then
  exit 0
fi
agreed 'Create it?' || wrong 'nothing was done'
LEFT=()
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
Installed. Nothing reports a failed run by itself: set up alerts, see
scripts/alerts/README.md.
These look and change nothing:
  ibmcloud ce jobrun submit --job $NAME --env CHECK=true --env OUTPUT=text --wait
  ibmcloud ce jobrun submit --job $NAME --env DRY_RUN=true --env OUTPUT=text --wait
The first tests every permission separately; the second shows what a run would
do. What they found: ibmcloud ce jobrun logs --jobrun NAME_OF_THE_RUN
Uninstall:
  scripts/teardown.sh --region ${IN[region]} \\
    --event-notifications ${IN[event-notifications]} \\
    --job-project ${NAME_OF[$JOB_PROJECT]} --name $NAME
EOF
