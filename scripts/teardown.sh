#!/usr/bin/env bash
# Removes what scripts/setup.sh created, and lists what stays because others may use it.
#
# Usage: scripts/teardown.sh [--yes] [--NAME VALUE ...]     (--help lists the names)
# Needs: bash 4.4, jq; ibmcloud, logged in, with the plug-ins code-engine, event-notifications and
#        secrets-manager (docs/install.md).
# Changes: removes job, configmaps, cron subscription, trusted profile, topics, destination,
#        subscriptions, and the authorization Event Notifications -> project if no other destination
#        uses it: whatever has setup's description, or else setup's names. Never a certificate, an
#        instance, a project or a TLS secret. Can be run again at any time.
# Ends with 0: nothing of it is left; 1: stopped (it says where); 2: nothing done.
# shellcheck disable=SC2016 # variables of jq
set -eu
cd "$(dirname "$0")/.."

SCRIPT=scripts/teardown.sh
# shellcheck source=lib/tools.sh
. scripts/lib/tools.sh
PROGRAMS=jq
PLUGINS='code-engine event-notifications secrets-manager'
# An older bash could not read on.
bash_is_new || need_tools "$PROGRAMS" "$PLUGINS"
set -o pipefail

PREFIX=SETUP
INPUTS=(
  'region|needed|region of Code Engine, such as eu-de'
  'event-notifications|needed|Event Notifications instance, by name or id'
  'job-project|needed|project that the job runs in, by name or id'
  'name|[sm-tls-sync]|name of the job and of everything that belongs to it'
)
# shellcheck source=lib/inputs.sh
. scripts/lib/inputs.sh
# shellcheck source=lib/calls.sh
. scripts/lib/calls.sh

usage() {
  printf 'Usage: %s [--yes] [--NAME VALUE ...]\n  --yes                  answer every question with yes\n' "$SCRIPT"
  show_inputs
}

is_asked() { true; }
choices() { :; }

# No switch except --yes.
take_switch() { false; }

# Is something of this name in the list that a command of Code Engine prints?
listed() {
  local name=$1
  shift
  look "$@" --output json -q
  ask -e --arg name "$name" 'any(list; (.metadata.name? // .name?) == $name)' >/dev/null
}

# The ids in OUT that carry our description, that of the job or that of the alerts.
ours() {
  ids_where description "$MARKER"
  ids_where description "$MARKER, alerts"
}

# What exists: FOUND_THINGS for people, and ids for the removal.
look_around() {
  local id others=0
  FOUND_THINGS=() CONFIGMAPS=() HAS_CRON=false HAS_JOB=false HAS_PROFILE=false AUTHORIZATION=
  begin "cron subscriptions of project ${NAME_OF[$PROJECT]}" "ibmcloud ce subscription cron list"
  ! listed "$NAME-reconcile" ibmcloud ce subscription cron list || HAS_CRON=true
  begin "jobs of project ${NAME_OF[$PROJECT]}" "ibmcloud ce job list"
  if listed "$NAME" ibmcloud ce job list; then
    begin "job $NAME" "ibmcloud ce job get --name $NAME"
    look ibmcloud ce job get --name "$NAME" --output json -q
    ! ask -e --arg config "$NAME-config" 'any(.. | strings; . == $config)' >/dev/null || HAS_JOB=true
  fi
  begin "configmaps of project ${NAME_OF[$PROJECT]}" "ibmcloud ce configmap list"
  look ibmcloud ce configmap list --output json -q
  OUT=$(ask -r --arg name "$NAME" 'list | .metadata.name? // .name? | select(. == ($name + "-config", $name + "-targets"))')
  mapfile -t CONFIGMAPS < <(printf '%s' "$OUT")

  begin "topics, destinations and subscriptions" "ibmcloud event-notifications topics --instance-id $EN_GUID"
  pages ibmcloud event-notifications subscriptions
  mapfile -t SUBSCRIPTIONS < <(ours)
  pages ibmcloud event-notifications topics
  mapfile -t TOPICS < <(ours)
  pages ibmcloud event-notifications destinations
  mapfile -t DESTINATIONS < <(ours)
  # a list does not say where a destination leads
  for id in $(ids_where type ibmce); do
    [[ " ${DESTINATIONS[*]} " != *" $id "* ]] || continue
    look ibmcloud event-notifications destination --instance-id "$EN_GUID" --id "$id" --output json
    if ask -e --arg crn "${CRN_OF[$PROJECT]}" 'any(.. | strings; . == $crn)' >/dev/null; then
      others=$((others + 1))
    fi
  done

  begin "authorization Event Notifications -> project" "ibmcloud iam authorization-policies --output JSON"
  find_authorization "$EN_GUID" "$PROJECT"
  # Nothing marks an authorization as ours; it is taken for ours while something of ours needs it.
  if [ "$others" -eq 0 ] && { "$HAS_JOB" || [ ${#DESTINATIONS[@]} -gt 0 ]; }; then
    AUTHORIZATION=$FOUND
  fi
  begin "trusted profile $NAME" "ibmcloud iam trusted-profile $NAME"
  if glance ibmcloud iam trusted-profile "$NAME" --output JSON -q &&
    ask -e --arg m "$MARKER" 'any(.. | objects; .description? == $m)' >/dev/null; then
    HAS_PROFILE=true
  fi

  ! "$HAS_CRON" || FOUND_THINGS+=("cron subscription $NAME-reconcile")
  for id in "${SUBSCRIPTIONS[@]}"; do FOUND_THINGS+=("subscription $id"); done
  for id in "${TOPICS[@]}"; do FOUND_THINGS+=("topic $id"); done
  [ -z "$AUTHORIZATION" ] || FOUND_THINGS+=("authorization Event Notifications -> project ${NAME_OF[$PROJECT]}")
  for id in "${DESTINATIONS[@]}"; do FOUND_THINGS+=("destination $id"); done
  ! "$HAS_PROFILE" || FOUND_THINGS+=("trusted profile $NAME with its link and policies")
  for id in "${CONFIGMAPS[@]}"; do FOUND_THINGS+=("configmap $id"); done
  ! "$HAS_JOB" || FOUND_THINGS+=("job $NAME with its runs")
}

# Removes one thing: what it is, the command.
remove() {
  begin "$1" "$LOOK"
  shift
  run "$@"
  report removed
}

# In this order, so that what proves a thing to be ours goes after it.
remove_all() {
  local id
  LOOK="ibmcloud ce subscription cron list"
  ! "$HAS_CRON" || remove "cron subscription $NAME-reconcile" \
    ibmcloud ce subscription cron delete --name "$NAME-reconcile" --force --ignore-not-found
  LOOK="ibmcloud event-notifications subscriptions --instance-id $EN_GUID"
  for id in "${SUBSCRIPTIONS[@]}"; do
    remove "subscription $id" ibmcloud event-notifications subscription-delete --instance-id "$EN_GUID" --id "$id" --force
  done
  LOOK="ibmcloud event-notifications topics --instance-id $EN_GUID"
  for id in "${TOPICS[@]}"; do
    remove "topic $id" ibmcloud event-notifications topic-delete --instance-id "$EN_GUID" --id "$id" --force
  done
  LOOK="ibmcloud iam authorization-policies --output JSON"
  [ -z "$AUTHORIZATION" ] || remove "authorization Event Notifications -> project ${NAME_OF[$PROJECT]}" \
    ibmcloud iam authorization-policy-delete "$AUTHORIZATION" --force
  LOOK="ibmcloud event-notifications destinations --instance-id $EN_GUID"
  for id in "${DESTINATIONS[@]}"; do
    remove "destination $id" ibmcloud event-notifications destination-delete --instance-id "$EN_GUID" --id "$id" --force
  done
  LOOK="ibmcloud iam trusted-profile $NAME"
  ! "$HAS_PROFILE" || remove "trusted profile $NAME" ibmcloud iam trusted-profile-delete "$NAME" --force
  LOOK="ibmcloud ce configmap list"
  for id in "${CONFIGMAPS[@]}"; do
    remove "configmap $id" ibmcloud ce configmap delete --name "$id" --force --ignore-not-found
  done
  LOOK="ibmcloud ce job list"
  ! "$HAS_JOB" || remove "job $NAME" ibmcloud ce job delete --name "$NAME" --force --ignore-not-found
}

# What others may use, with the command that removes it.
show_what_stays() {
  local crn id region sources
  echo 'What stays, because others may use it, and how to remove it:'
  echo '  TLS secrets, certificates, instances and projects'
  begin "sources of Event Notifications" "ibmcloud event-notifications sources --instance-id $EN_GUID"
  pages ibmcloud event-notifications sources
  sources=$(cut -f 1 <<<"$OUT" | grep ':secrets-manager:') || sources=
  for crn in $sources; do
    IFS=: read -r _ _ _ _ _ region _ id _ <<<"$crn"
    echo "  the registration of Secrets Manager $id (without it, no topic gets its events, and all topics lose its rules):"
    echo "    ibmcloud secrets-manager notifications-registration-delete --service-url https://$id.$region.secrets-manager.appdomain.cloud"
    begin "authorization Secrets Manager -> Event Notifications" "ibmcloud iam authorization-policies --output JSON"
    find_authorization "$id" "$EN_GUID"
    if [ -n "$FOUND" ]; then
      echo "  its authorization (after the registration):"
      echo "    ibmcloud iam authorization-policy-delete $FOUND"
    fi
  done
  begin "custom roles" "ibmcloud iam roles --service codeengine --output JSON"
  look ibmcloud iam roles --service codeengine --output JSON
  if ask -e 'any(.. | strings; . == "SmTlsSecretUpdater")' >/dev/null; then
    echo '  the custom role SmTlsSecretUpdater (no command removes a role):'
    echo '    console: Manage > Access (IAM) > Roles'
  fi
  echo '  an image that Code Engine built from source, in Container Registry (console)'
}

read_inputs "$@"
need_tools "$PROGRAMS" "$PLUGINS"
complete_inputs
: "${IN[name]:=sm-tls-sync}"
NAME=${IN[name]}
find_event_notifications "${IN[event-notifications]}"
list_instances codeengine
find_instance "${IN[job-project]}" 'Code Engine project' "${IN[region]}"
PROJECT=$FOUND
MARKER=$(marker "$NAME" "$PROJECT")
select_project "$PROJECT"
look_around
if [ ${#FOUND_THINGS[@]} -eq 0 ]; then
  echo "Nothing of $NAME is left in project ${NAME_OF[$PROJECT]} and ${IN[event-notifications]}."
else
  echo 'To be removed:'
  printf '  %s\n' "${FOUND_THINGS[@]}"
  agreed 'Remove it?' || wrong 'nothing was done'
  remove_all
  echo 'Removed. Tokens that runs got from the profile stay valid for up to an hour.'
fi
show_what_stays
