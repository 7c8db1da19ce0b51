#!/usr/bin/env bash
# From Secrets Manager's event to a job run: registration, topics, destination, subscriptions.
# Sourced by setup.sh, not run; NAME, MARKER and the like are its variables.
# shellcheck disable=SC2034,SC2153

EVENT=com.ibm.cloud.secrets-manager

# Makes Secrets Manager a source of Event Notifications; REGISTERED tells whether it is one.
registration() {
  local registered register
  REGISTERED=true
  begin "registration of Secrets Manager at Event Notifications" \
    "ibmcloud event-notifications sources --instance-id $EN_GUID"
  pages sources ibmcloud event-notifications sources
  if jq -e --arg crn "$SM_CRN" 'any(.[]; .id == $crn)' <<<"$OUT" >/dev/null; then
    report 'already there'
    return
  fi
  register="ibmcloud secrets-manager notifications-registration-create --service-url $SM_PRIVATE_URL"
  register+=" --event-notifications-instance-crn $EN_CRN --event-notifications-source-name ${IN[name]}"
  if ! "$SM_IS_REACHED"; then
    REGISTERED=false
    report 'to be done'
    LEFT+=("Somebody on the private network registers Secrets Manager at Event Notifications:" "  $register")
    return
  fi
  if glance ibmcloud secrets-manager notifications-registration --service-url "$SM_URL" --output json -q; then
    registered=$(jq -r '.event_notifications_instance_crn // empty' <<<"$OUT")
    if [ -n "$registered" ] && [ "$registered" != "$EN_CRN" ]; then
      stop "Secrets Manager is registered at another instance: $registered" \
        "It can have one only, and others may use it: give that one as --event-notifications."
    fi
  fi
  make ibmcloud secrets-manager notifications-registration-create --service-url "$SM_URL" \
    --event-notifications-instance-crn "$EN_CRN" --event-notifications-source-name "${IN[name]}" \
    --event-notifications-source-description "life cycle of secrets" --output json -q
}

# Rules that let these types of events through.
rules() {
  jq -nc --arg event "$EVENT" '[$ARGS.positional[]
    | {enabled: true, event_type_filter: "$.type == \u0027\($event).\(.)\u0027"}]' --args "$@"
}

# A topic for events of this Secrets Manager: name, description, rules; id in TOPIC_ID.
topic() {
  local name=$1 description=$2 sources
  sources=$(jq -nc --arg crn "$SM_CRN" --argjson rules "$3" '[{id: $crn, rules: $rules}]')
  begin "topic $name" "ibmcloud event-notifications topics --instance-id $EN_GUID"
  pages topics ibmcloud event-notifications topics
  TOPIC_ID=$(marked "$description")
  if [ -n "$TOPIC_ID" ]; then
    look ibmcloud event-notifications topic --instance-id "$EN_GUID" --id "$TOPIC_ID" --output json -q
    if jq -e --argjson want "$sources" '(has("sources") | not) or any(.sources[]?; .id == $want[0].id and
        (($want[0].rules | map(.event_type_filter)) - [.rules[]?.event_type_filter] == []))' <<<"$OUT" >/dev/null; then
      report 'already there'
      return
    fi
    # A source that was removed took its rules along; they cannot be put back in place.
    look ibmcloud event-notifications topic-delete --instance-id "$EN_GUID" --id "$TOPIC_ID" --force
  fi
  make ibmcloud event-notifications topic-create --instance-id "$EN_GUID" --name "$name" \
    --description "$description" --sources "$sources" --output json -q
  TOPIC_ID=$(jq -r .id <<<"$OUT")
}

# The job as a destination; id in DESTINATION_ID.
destination() {
  local config
  begin "destination $NAME: job $NAME of project $JOB_PROJECT_NAME" \
    "ibmcloud event-notifications destinations --instance-id $EN_GUID"
  pages destinations ibmcloud event-notifications destinations
  DESTINATION_ID=$(marked "$MARKER")
  if [ -n "$DESTINATION_ID" ]; then
    report 'already there'
    return
  fi
  config=$(jq -nc --arg crn "$JOB_PROJECT_CRN" --arg job "$NAME" \
    '{params: {type: "job", project_crn: $crn, job_name: $job}}')
  make ibmcloud event-notifications destination-create --instance-id "$EN_GUID" --name "$NAME" --type ibmce \
    --description "$MARKER" --config "$config" --output json -q
  DESTINATION_ID=$(jq -r .id <<<"$OUT")
}

# From a topic to a destination: name, description, topic, destination, further flags.
subscription() {
  local name=$1 description=$2 topic=$3 destination=$4
  shift 4
  begin "subscription $name" "ibmcloud event-notifications subscriptions --instance-id $EN_GUID"
  pages subscriptions ibmcloud event-notifications subscriptions
  if [ -n "$(marked "$description")" ]; then
    report 'already there'
    return
  fi
  make ibmcloud event-notifications subscription-create --instance-id "$EN_GUID" --name "$name" \
    --description "$description" --topic-id "$topic" --destination-id "$destination" "$@" --output json -q
}

# Letters to people when Secrets Manager cannot renew, or a certificate ends.
alerts() {
  local address=$1 mail attributes
  topic "$NAME-alerts" "$MARKER, alerts" "$(<scripts/alerts/email-rules.json)"
  begin "built-in mail of Event Notifications" "ibmcloud event-notifications destinations --instance-id $EN_GUID"
  pages destinations ibmcloud event-notifications destinations
  mail=$(jq -r 'first(.[] | select(.type == "smtp_ibm") | .id) // empty' <<<"$OUT")
  [ -n "$mail" ] || stop "The instance has no destination of type smtp_ibm."
  attributes=$(jq -nc --arg to "$address" '{invited: [$to], add_notification_payload: true,
    reply_to_mail: $to, reply_to_name: "certificates", from_name: "certificates"}')
  subscription "$NAME-alerts" "$MARKER, alerts" "$TOPIC_ID" "$mail" --attributes "$attributes"
}
