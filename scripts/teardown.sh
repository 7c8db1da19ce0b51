#!/usr/bin/env bash
# Removes what scripts/setup.sh made, and names what stays because others may use it.
#
# Usage: scripts/teardown.sh [--yes] [--NAME VALUE ...]     (--help tells the names)
# Needs: bash 4.4, jq; ibmcloud, logged in, with the plug-ins code-engine, event-notifications and
#        secrets-manager.
# Changes: removes job, configmap, cron subscription, trusted profile, topics, destination,
#        subscriptions, and the authorization Event Notifications -> project if no other destination
#        uses it: by setup's description, or by setup's names. Never the certificate, an instance, a
#        project or the TLS secret. Can be run again at any time.
# Ends with 0: nothing of it is left; 1: stopped (it says where); 2: nothing done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SCRIPT=scripts/teardown.sh
PREFIX=SETUP
INPUTS=(
  'region|needed|region of Code Engine, such as eu-de'
  'event-notifications|needed|Event Notifications instance, by name or id'
  'job-project|needed|project that the job runs in, by name or id'
  'name|optional; else sm-tls-sync|name of the job, and of all that belongs to it'
)
# shellcheck source=lib/common.sh
. scripts/lib/common.sh

usage() {
  printf 'Usage: %s [--yes] [--NAME VALUE ...]\n  --yes                  ask nothing\n' "$SCRIPT"
  show_inputs
}

is_asked() { true; }

# None beside --yes.
take_switch() { false; }

# Is there a thing of this name in the list that a command gives?
listed() {
  local name=$1
  shift
  look "$@" --output json -q
  jq -e --arg name "$name" 'any(.. | objects; .name? == $name)' <<<"${OUT:-null}" >/dev/null
}

# The ids in OUT that carry our description, for the job or for the alerts.
ours() {
  jq -r --arg m "$MARKER" '.[] | select(.description == $m or .description == $m + ", alerts") | .id' <<<"$OUT"
}

# What is there, into FOUND_THINGS for people, and ids for the removal.
look_around() {
  local id
  FOUND_THINGS=() HAS_CRON=false HAS_JOB=false HAS_CONFIGMAP=false HAS_PROFILE=false AUTHORIZATION=
  begin "cron subscriptions of project ${IN[job-project]}" "ibmcloud ce subscription cron list"
  ! listed "$NAME-reconcile" ibmcloud ce subscription cron list || HAS_CRON=true
  begin "jobs of project ${IN[job-project]}" "ibmcloud ce job list"
  if listed "$NAME" ibmcloud ce job list; then
    begin "job $NAME" "ibmcloud ce job get --name $NAME"
    look ibmcloud ce job get --name "$NAME" --output json -q
    ! jq -e --arg config "$NAME-config" 'any(.. | strings; . == $config)' <<<"$OUT" >/dev/null || HAS_JOB=true
  fi
  begin "configmaps of project ${IN[job-project]}" "ibmcloud ce configmap list"
  ! listed "$NAME-config" ibmcloud ce configmap list || HAS_CONFIGMAP=true

  begin "things of Event Notifications" "ibmcloud event-notifications topics --instance-id $EN_GUID"
  pages subscriptions ibmcloud event-notifications subscriptions
  mapfile -t SUBSCRIPTIONS < <(ours)
  pages topics ibmcloud event-notifications topics
  mapfile -t TOPICS < <(ours)
  pages destinations ibmcloud event-notifications destinations
  mapfile -t DESTINATIONS < <(ours)
  OTHERS=0
  # a list does not say where a destination leads
  for id in $(jq -r --arg m "$MARKER" '.[] | select(.type == "ibmce" and .description != $m) | .id' <<<"$OUT"); do
    look ibmcloud event-notifications destination --instance-id "$EN_GUID" --id "$id" --output json -q
    if jq -e --arg crn "$PROJECT_CRN" 'any(.. | strings; . == $crn)' <<<"$OUT" >/dev/null; then
      OTHERS=$((OTHERS + 1))
    fi
  done

  begin "authorization Event Notifications -> project" "ibmcloud iam authorization-policies --output JSON"
  find_authorization "$EN_GUID" "$PROJECT_GUID"
  # Nothing marks an authorization; it is taken for ours while something of ours needs it.
  if [ -n "$FOUND" ] && [ "$OTHERS" -eq 0 ] && { "$HAS_JOB" || [ ${#DESTINATIONS[@]} -gt 0 ]; }; then
    AUTHORIZATION=$(jq -r .id <<<"$FOUND")
  fi
  begin "trusted profile $NAME" "ibmcloud iam trusted-profile $NAME"
  if glance ibmcloud iam trusted-profile "$NAME" --output JSON -q &&
    jq -e --arg m "$MARKER" 'any(.. | objects; .description? == $m)' <<<"$OUT" >/dev/null; then
    HAS_PROFILE=true
  fi

  ! "$HAS_CRON" || FOUND_THINGS+=("cron subscription $NAME-reconcile")
  for id in "${SUBSCRIPTIONS[@]}"; do FOUND_THINGS+=("subscription $id"); done
  for id in "${TOPICS[@]}"; do FOUND_THINGS+=("topic $id"); done
  [ -z "$AUTHORIZATION" ] || FOUND_THINGS+=("authorization Event Notifications -> project ${IN[job-project]}")
  for id in "${DESTINATIONS[@]}"; do FOUND_THINGS+=("destination $id"); done
  ! "$HAS_PROFILE" || FOUND_THINGS+=("trusted profile $NAME with its link and policies")
  ! "$HAS_CONFIGMAP" || FOUND_THINGS+=("configmap $NAME-config")
  ! "$HAS_JOB" || FOUND_THINGS+=("job $NAME with its runs")
}

# Removes one thing: what it is, the command.
remove() {
  begin "$1" "$LOOK"
  shift
  look "$@"
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
  [ -z "$AUTHORIZATION" ] || remove "authorization Event Notifications -> project ${IN[job-project]}" \
    ibmcloud iam authorization-policy-delete "$AUTHORIZATION" --force
  LOOK="ibmcloud event-notifications destinations --instance-id $EN_GUID"
  for id in "${DESTINATIONS[@]}"; do
    remove "destination $id" ibmcloud event-notifications destination-delete --instance-id "$EN_GUID" --id "$id" --force
  done
  LOOK="ibmcloud iam trusted-profile $NAME"
  ! "$HAS_PROFILE" || remove "trusted profile $NAME" ibmcloud iam trusted-profile-delete "$NAME" --force
  LOOK="ibmcloud ce configmap list"
  ! "$HAS_CONFIGMAP" || remove "configmap $NAME-config" \
    ibmcloud ce configmap delete --name "$NAME-config" --force --ignore-not-found
  LOOK="ibmcloud ce job list"
  ! "$HAS_JOB" || remove "job $NAME" ibmcloud ce job delete --name "$NAME" --force --ignore-not-found
}

# What others may use, with the command that removes it.
show_what_stays() {
  local crn guid region id
  echo 'What stays, since others may use it, and how to remove it:'
  echo '  the TLS secret, the certificate, the instances and projects'
  begin "sources of Event Notifications" "ibmcloud event-notifications sources --instance-id $EN_GUID"
  pages sources ibmcloud event-notifications sources
  while IFS= read -r crn; do
    guid=$(cut -d: -f8 <<<"$crn") region=$(cut -d: -f6 <<<"$crn")
    echo "  the registration of Secrets Manager $guid (without it no topic gets its events; topics lose their rules):"
    echo "    ibmcloud secrets-manager notifications-registration-delete --service-url https://$guid.$region.secrets-manager.appdomain.cloud"
    begin "authorization Secrets Manager -> Event Notifications" "ibmcloud iam authorization-policies --output JSON"
    find_authorization "$guid" "$EN_GUID"
    if [ -n "$FOUND" ]; then
      id=$(jq -r .id <<<"$FOUND")
      echo "  its authorization (the registration first):"
      echo "    ibmcloud iam authorization-policy-delete $id"
    fi
  done < <(jq -r '.[].id | select(contains(":secrets-manager:"))' <<<"$OUT")
  begin "custom roles" "ibmcloud iam roles --service codeengine --output JSON"
  look ibmcloud iam roles --service codeengine --output JSON -q
  if jq -e 'any(.. | strings; . == "SmTlsSecretUpdater")' <<<"$OUT" >/dev/null; then
    echo '  the custom role SmTlsSecretUpdater (no command removes one):'
    echo '    console: Manage > Access (IAM) > Roles'
  fi
  echo '  an image that Code Engine built from source, in Container Registry (console)'
}

read_inputs "$@"
check_tools jq
complete_inputs
: "${IN[name]:=sm-tls-sync}"
NAME=${IN[name]}
find_event_notifications
find_project "${IN[job-project]}"
PROJECT_GUID=$(jq -r .guid <<<"$FOUND")
PROJECT_CRN=$(jq -r .crn <<<"$FOUND")
MARKER=$(marker "$NAME" "$PROJECT_GUID")
select_project "$FOUND"
look_around
if [ ${#FOUND_THINGS[@]} -eq 0 ]; then
  echo "Nothing of $NAME is left in project ${IN[job-project]} and ${IN[event-notifications]}."
else
  echo 'To be removed:'
  printf '  %s\n' "${FOUND_THINGS[@]}"
  agreed 'Remove it?' || wrong 'nothing was done'
  remove_all
  echo "Removed. Tokens that the profile gave to runs are good for an hour at most."
fi
show_what_stays
