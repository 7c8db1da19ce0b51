#!/usr/bin/env bash
# From an event of Secrets Manager to a job run or a mail: registration, topics, destination,
# subscriptions. Sourced, not run.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

EVENT=com.ibm.cloud.secrets-manager
# How to recognise a topic or a subscription that exists already: its description says who made it, and for
# what. (Names are not unique.)
KNOWN_BY=description

# Makes Secrets Manager a source of Event Notifications; REGISTERED: is it one?
registration() {
  local name=$1 registered register
  REGISTERED=true
  begin "registration of Secrets Manager at Event Notifications" \
    "ibmcloud event-notifications sources --instance-id $EN_GUID"
  pages ibmcloud event-notifications sources
  if [ -n "$(id_where id "$SM_CRN")" ]; then
    report 'already there'
    return
  fi
  register="ibmcloud secrets-manager notifications-registration-create --service-url $SM_PRIVATE_URL"
  register+=" --event-notifications-instance-crn $EN_CRN --event-notifications-source-name $name"
  if [ -z "$SM_URL" ]; then
    REGISTERED=false
    report 'to be done'
    LEFT+=("Someone on the private network has to register Secrets Manager at Event"
      "Notifications:" "  $register" "Then run $SCRIPT again: it creates topic and subscription.")
    return
  fi
  if glance ibmcloud secrets-manager notifications-registration --service-url "$SM_URL" --output json -q; then
    registered=$(ask -r '.event_notifications_instance_crn? // empty')
    [ -z "$registered" ] || [ "$registered" = "$EN_CRN" ] ||
      stop "Secrets Manager is registered at another instance: $registered" \
        "It can have only one, and others may use it: choose that one with --event-notifications."
  fi
  make_patiently ibmcloud secrets-manager notifications-registration-create --service-url "$SM_URL" \
    --event-notifications-instance-crn "$EN_CRN" --event-notifications-source-name "$name" \
    --event-notifications-source-description "life cycle of secrets" --output json -q
}

# Rules that let these types of events through.
rules() {
  printf '%s\n' "$@" | jq -Rnc --arg event "$EVENT" '[inputs
    | {enabled: true, event_type_filter: "$.type == \u0027\($event).\(.)\u0027"}]'
}

# A topic: name, description, CRN of the source, rules; its id is TOPIC_ID.
topic() {
  local name=$1 description=$2 sources
  sources=$(jq -nc --arg crn "$3" --argjson rules "$4" '[{id: $crn, rules: $rules}]')
  begin "topic $name" "ibmcloud event-notifications topics --instance-id $EN_GUID"
  pages ibmcloud event-notifications topics
  TOPIC_ID=$(id_where "$KNOWN_BY" "${!KNOWN_BY}")
  if [ -n "$TOPIC_ID" ] && [ "$KNOWN_BY" = name ]; then
    report 'already there'
    return
  elif [ -n "$TOPIC_ID" ]; then
    look ibmcloud event-notifications topic --instance-id "$EN_GUID" --id "$TOPIC_ID" --output json
    if ask -e --argjson want "$sources" '(has("sources") | not) or any(.sources[]?; .id == $want[0].id and
        (($want[0].rules | map(.event_type_filter)) - [.rules[]?.event_type_filter] == []))' >/dev/null; then
      report 'already there'
      return
    fi
    # Removing a source removes its rules from all topics, and a filter cannot be put back in place.
    change ibmcloud event-notifications topic-delete --instance-id "$EN_GUID" --id "$TOPIC_ID" --force
  fi
  make_patiently ibmcloud event-notifications topic-create --instance-id "$EN_GUID" --name "$name" \
    --description "$description" --sources "$sources" --output json
  TOPIC_ID=$(ask -r '.id?')
}

# The job as a destination: its name and description, CRN of its project; the id is DESTINATION_ID.
destination() {
  local name=$1 description=$2 config
  begin "destination $name: the job" \
    "ibmcloud event-notifications destinations --instance-id $EN_GUID"
  pages ibmcloud event-notifications destinations
  DESTINATION_ID=$(id_where description "$description")
  if [ -n "$DESTINATION_ID" ]; then
    report 'already there'
    return
  fi
  config=$(jq -nc --arg crn "$3" --arg job "$name" '{params: {type: "job", project_crn: $crn, job_name: $job}}')
  make_patiently ibmcloud event-notifications destination-create --instance-id "$EN_GUID" --name "$name" \
    --type ibmce --description "$description" --config "$config" --output json
  DESTINATION_ID=$(ask -r '.id?')
}

# From a topic to a destination: name, description, topic, destination, more flags.
subscription() {
  local name=$1 description=$2 topic=$3 destination=$4
  shift 4
  begin "subscription $name" "ibmcloud event-notifications subscriptions --instance-id $EN_GUID"
  pages ibmcloud event-notifications subscriptions
  if [ -n "$(id_where "$KNOWN_BY" "${!KNOWN_BY}")" ]; then
    report 'already there'
    return
  fi
  make ibmcloud event-notifications subscription-create --instance-id "$EN_GUID" --name "$name" \
    --description "$description" --topic-id "$topic" --destination-id "$destination" "$@" --output json
}

# E-mail about the events of a source: name and description of topic and subscription, CRN of the
# source, rules, addresses by comma.
mail() {
  local name=$1 description=$2 destination attributes
  topic "$name" "$description" "$3" "$4"
  begin "built-in e-mail of Event Notifications" "ibmcloud event-notifications destinations --instance-id $EN_GUID"
  pages ibmcloud event-notifications destinations
  destination=$(id_where type smtp_ibm)
  [ -n "$destination" ] || stop 'The instance has no destination of type smtp_ibm, which every instance should have.'
  attributes=$(jq -nc --arg to "$5" '($to | split(",") | map(gsub("^ +| +$"; ""))) as $people
    | {invited: $people, add_notification_payload: true, reply_to_mail: $people[0],
      reply_to_name: "certificates", from_name: "certificates"}')
  subscription "$name" "$description" "$TOPIC_ID" "$destination" --attributes "$attributes"
}
