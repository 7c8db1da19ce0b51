#!/usr/bin/env bash
# Installs sm-tls-sync: from certificates in Secrets Manager to a job that copies each renewal into a
# TLS secret of Code Engine, with the least rights that allow it.
#
# Usage: scripts/setup.sh [--plan] [--yes] [--writer] [--NAME VALUE ...]     (--help lists the names)
# Needs: bash 4.4, jq, openssl; ibmcloud (logged in) with the plug-ins code-engine,
#        event-notifications and secrets-manager (docs/install.md).
# Changes: creates what is missing in the account; what exists stays as it is (with --targets, the list
#        of targets is updated). It can be run again at any time, also after a failure. On this machine
#        it only changes the region, resource group and project that are targeted by ibmcloud.
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
  'secret-id|optional|the certificate by id'
  'group-id|optional; then Secrets Manager is not called from here|id of its secret group (with --targets: ids, comma-separated)'
  'targets|optional; instead of --certificate and --tls-secret|file with many targets: the JSON of TARGETS'
  'event-notifications|needed|Event Notifications instance, by name or id'
  'project|needed|project of the apps, which has the TLS secret, by name or id'
  'job-project|optional, a project of its own is recommended; else the one of the apps|project that the job runs in'
  'tls-secret|needed without --targets|TLS secret of Code Engine that gets the certificate'
  "schedule|optional; else once a day at a time derived from the project's id; none: no cron|schedule of the reconcile (UTC), five fields"
  'alert-email|optional; else no mail|address that gets a mail when Secrets Manager cannot renew'
  'image|optional; else built from this directory|container image of the job'
  'registry-secret|optional|registry secret of Code Engine for the image'
  'name|optional; else sm-tls-sync|name of the job and of all that belongs to it'
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
  --plan                 print what would be created, change nothing
  --yes                  answer every question with yes
  --writer               give the job the ready-made role Writer instead of a custom role that may only
                         read and update (variable SETUP_WRITER=true)
EOF
  show_inputs
  echo 'On a terminal, setup asks for what is missing.'
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

PLAN=false WRITER=${SETUP_WRITER:-false}
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
  find_instance "${IN[secrets-manager]}" 'Secrets Manager instance' ''
  SM_GUID=$FOUND SM_CRN=${CRN_OF[$FOUND]}
  SM_PRIVATE_URL=https://$SM_GUID.private.${REGION_OF[$FOUND]}.secrets-manager.appdomain.cloud
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

show_plan() {
  local group project
  cat <<EOF
Plan (what exists already stays):
  authorization  Secrets Manager ${IN[secrets-manager]} may send events to ${IN[event-notifications]} (Event Source Manager)
  registration   of Secrets Manager at Event Notifications
  profile        $NAME, only for job $NAME of project ${NAME_OF[$JOB_PROJECT]} (link)
EOF
  for group in "${SECRET_GROUPS[@]}"; do
    echo "  policy         SecretsReader on secret group $group of Secrets Manager: every secret of that group"
  done
  for project in "${PROJECTS[@]}"; do
    echo "  policy         $ROLE_OF_JOB on project ${NAME_OF[$project]}"
    echo "  TLS secrets   ${TLS_SECRETS[$project]} in project ${NAME_OF[$project]}: a self-signed placeholder where there is none"
  done | cut -c 1-200
  cat <<EOF
  configmap      $NAME-config in project ${NAME_OF[$JOB_PROJECT]}
  job            $NAME in project ${NAME_OF[$JOB_PROJECT]}, from ${IN[image]:-this directory}
  authorization  Event Notifications may start jobs of project ${NAME_OF[$JOB_PROJECT]} (Viewer, Writer)
  topic          $NAME: rotations of Secrets Manager; with destination and subscription for the job
  cron           $SCHEDULE (UTC)
  alerts         ${IN[alert-email]:-none}
  runs           a dry run, then a real one
EOF
  if [[ " ${SECRET_GROUPS[*]} " == *' default '* ]]; then
    echo 'Note: policies on the whole instance also apply to the group "default"; a group of its own is better.'
  fi
  if [[ " ${PROJECTS[*]} " == *" $JOB_PROJECT "* ]]; then
    cat <<EOF
Note: anyone with the role Writer on a project can submit job runs there, and so act with the permissions
of the job's profile, which can read the private key. A separate project for the job, with few Writers,
is recommended:
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
      LEFT+=("The real run: ibmcloud ce jobrun submit --job $NAME")
    fi
  fi
  show_points
  [ "$STATUS" = 0 ] || LEFT+=("The run failed. docs/runbook.md says what to do for each exit status. Then run $SCRIPT again.")
}

read_inputs "$@"
need_tools "$PROGRAMS" "$PLUGINS"
complete_inputs
: "${IN[name]:=sm-tls-sync}"
check_inputs
NAME=${IN[name]}
LEFT=()
ROLE_OF_JOB=$ROLE
! "$WRITER" || ROLE_OF_JOB=Writer
look_up
MOUNTED=false
[ "$(printf %s "$TARGETS" | wc -c)" -le "$LARGE" ] || MOUNTED=true
SCHEDULE=${IN[schedule]:-$(spread_schedule "$JOB_PROJECT")}
MARKER=$(marker "$NAME" "$JOB_PROJECT")
show_plan
if [ -n "${IN[targets]}" ]; then
  read_targets_now
  show_changes
fi
if "$PLAN"; then
  exit 0
fi
agreed 'Create it?' || wrong 'nothing was done'
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
Installed. Nothing reports a failed run by itself: set up alerts, see scripts/alerts/README.md.
These look and change nothing:
  what a run would do         ibmcloud ce jobrun submit --job $NAME --env DRY_RUN=true --wait
  every permission by itself  ibmcloud ce jobrun submit --job $NAME --env CHECK=true --wait
Uninstall: scripts/teardown.sh --region ${IN[region]} --event-notifications ${IN[event-notifications]} \\
  --job-project ${NAME_OF[$JOB_PROJECT]} --name $NAME
EOF
