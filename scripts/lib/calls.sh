#!/usr/bin/env bash
# Calls of ibmcloud, one line of output per step, and look-ups that several scripts need.
# Sourced by them, not run. A script that uses it sets SCRIPT, its name.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

# No request with its headers on the screen, whatever the caller traces; no notice and no colour in
# what is parsed.
export IBMCLOUD_TRACE=false BLUEMIX_TRACE=false IBMCLOUD_VERSION_CHECK=false IBMCLOUD_COLOR=false
# Rights and sources that were made a moment ago are not known everywhere at once.
TRIES=6
PAUSE=${SETUP_PAUSE:-10}

umask 077
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
WHAT='the beginning' LOOK="ibmcloud target"
set -E
trap 'not_understood' ERR
not_understood() {
  [ "$BASH_SUBSHELL" -eq 0 ] || return
  {
    printf '%s: could not understand the answer at: %s [%s]\n' "$SCRIPT" "$WHAT" "$LOOK"
    head -n 10 "$TMP/out" | sed 's/^/  /'
  } >&2
  exit 1
}

# --- steps ---

# The step that is under way: what it makes, and the command that shows it.
begin() {
  WHAT=$1 LOOK=$2
}

# A label of this width, and a text: in lines of at most 80 columns.
say() {
  local words word line
  printf -v line "%-$1s" "$2"
  read -ra words <<<"$3"
  for word in "${words[@]}"; do
    if [ $((${#line} + ${#word})) -ge 80 ] && [ -n "${line// /}" ]; then
      echo "$line"
      printf -v line "%-$1s" ''
    fi
    line+=" $word"
  done
  echo "$line"
}

# What became of the step; the command that shows it, if somebody has to look.
report() {
  if "${PLANNING:-false}"; then
    case $1 in
      'already there') say 9 '  exists' "$WHAT" ;;
      done) say 9 '  new' "$WHAT" ;;
      changed) say 9 '  change' "$WHAT" ;;
      'to be done') say 9 '  later' "$WHAT" ;;
    esac
    return
  fi
  say 14 "$1" "$WHAT"
  case $1 in
    failed | 'not needed' | 'to be done') printf '  [%s]\n' "$LOOK" ;;
  esac
}

# Ends the script: one argument for each line of why.
stop() {
  PLANNING=false
  report failed
  {
    printf '  %s\n' "$@"
    printf '%s: stopped at: %s. Fix that and run it again: it continues from there.\n' "$SCRIPT" "$WHAT"
  } >&2
  exit 1
}

# Ends the script after a command failed.
fail() {
  local why
  mapfile -t why < <(cat "$TMP/errors" "$TMP/out")
  stop "${why[@]}"
}

# --- calls ---

# Runs a command; what it printed is OUT. Returns its status.
try() {
  local status=0
  "$@" >"$TMP/out" 2>"$TMP/errors" </dev/null || status=$?
  OUT=$(<"$TMP/out")
  return "$status"
}

# Runs a command that must succeed.
run() {
  try "$@" || fail
}

# The same for one that changes something: a plan leaves it out.
change() {
  "${PLANNING:-false}" || run "$@"
}

# Cuts OUT to where its JSON begins: the command may print a notice first. Without any JSON it is `null`:
# some commands print a sentence instead of an empty list.
cut_to_json() {
  OUT=$(awk '
    !json && match($0, /\[[ \t]*(\]|[{"[]|$)|[{][ \t]*(["}]|$)/) { json = 1; $0 = substr($0, RSTART) }
    json' "$TMP/out")
  : "${OUT:=null}"
}

# Looks at something: OUT is the JSON. The command must succeed.
look() {
  run "$@"
  cut_to_json
}

# Looks at something that may not be there. IBM does not document how such a command ends, so a
# failure and an answer without JSON mean the same.
glance() {
  try "$@" || return
  cut_to_json
  [ "$OUT" != null ]
}

# Queries the JSON in OUT: options of jq, then the filter. A notice after the JSON does not matter.
# `list` is the entries of a list, whether it is an array, an object around one, or null.
ask() {
  jq -n "${@:1:$#-1}" 'def list: if type == "array" then .[] else objects | .[] | arrays | .[] end;
    first(inputs) | '"${!#}" <<<"$OUT"
}

# Makes something; OUT is the JSON of the answer.
make() {
  TRIES=1 make_patiently "$@"
}

# The same for what depends on something that was made a moment ago: as long as that is not known yet,
# or a right seems to be missing, try again. A command of unknown fate is never repeated.
NOT_YET='authori[sz]|forbidden|permission|not (be )?found|does not exist|no such|(role|source|profile|policy).*(not |no |invalid|unknown)|BXNIM|status[: a-z]*40[134]'
NEVER='incorrect usage|not a registered command|not logged in'
make_patiently() {
  local tries
  if "${PLANNING:-false}"; then
    report 'done'
    OUT=null
    return
  fi
  for ((tries = 1; ; tries++)); do
    if try "$@"; then
      report 'done'
      break
    elif grep -q policy_conflict_error "$TMP/errors" "$TMP/out"; then
      report 'already there'
      break
    elif [ "$tries" -ge "$TRIES" ] || grep -Eqi "$NEVER" "$TMP/errors" "$TMP/out" ||
      ! grep -Eqi "$NOT_YET" "$TMP/errors" "$TMP/out"; then
      fail
    fi
    sleep "$PAUSE"
  done
  cut_to_json
}

# --- look-ups ---

# The instances of a service in all resource groups: ids in INSTANCES, and by id what follows.
declare -A NAME_OF=() CRN_OF=() REGION_OF=() GROUP_OF=()
list_instances() {
  local service=$1 rows id crn group name
  begin "instances of $service" "ibmcloud resource service-instances --service-name $service --all-resource-groups"
  look ibmcloud resource service-instances --service-name "$service" --all-resource-groups --output json -q
  rows=$(ask -r 'list | [.guid, .crn // .id, .resource_group_id // "-", .name] | join(" ")')
  INSTANCES=()
  while read -r id crn group name; do
    [ -n "$id" ] || continue
    INSTANCES+=("$id")
    NAME_OF[$id]=$name CRN_OF[$id]=$crn GROUP_OF[$id]=$group
    REGION_OF[$id]=$(cut -d: -f6 <<<"$crn")
  done <<<"$rows"
}

# One of INSTANCES by name or id: its id is FOUND. Arguments: name or id, what it is, its region (any
# if that is empty).
find_instance() {
  local wanted=$1 kind=$2 region=$3 id found=() known=
  for id in "${INSTANCES[@]}"; do
    [ -z "$region" ] || [ "${REGION_OF[$id]}" = "$region" ] || continue
    known+="${known:+, }${NAME_OF[$id]}"
    [ "${NAME_OF[$id]}" != "$wanted" ] && [ "$id" != "$wanted" ] || found+=("$id")
  done
  case ${#found[@]} in
    1) FOUND=${found[0]} ;;
    0) wrong "there is no $kind $wanted${region:+ in $region}; there are: ${known:-none}" "where to look: $LOOK" ;;
    *) wrong "there is more than one $kind $wanted: give its id, one of: ${found[*]}" ;;
  esac
}

# The Event Notifications instance, by name or id.
find_event_notifications() {
  list_instances event-notifications
  find_instance "$1" 'Event Notifications instance' ''
  use_event_notifications "$FOUND" "${REGION_OF[$FOUND]}"
}

# Commands of Event Notifications go to this instance of this region, whatever region is targeted.
use_event_notifications() {
  EN_GUID=$1
  export IBMCLOUD_EN_ENDPOINT="https://$2.event-notifications.cloud.ibm.com/event-notifications"
}

# Commands of Code Engine go to this project.
SELECTED=
select_project() {
  [ "$1" != "$SELECTED" ] || return 0
  begin "project ${NAME_OF[$1]} selected" "ibmcloud ce project current"
  run ibmcloud target -r "${REGION_OF[$1]}" -g "${GROUP_OF[$1]}"
  run ibmcloud ce project select --id "$1"
  SELECTED=$1
}

# All pages of a list of Event Notifications: in OUT one line for each entry, with id, type, name and
# description, separated by tabs.
pages() {
  local offset=0 all='' page='' before
  while :; do
    before=$page
    look "$@" --instance-id "$EN_GUID" --limit 100 --offset "$offset" --output json
    page=$(ask -r 'list | [.id, .type // "-", .name // "-", .description // "-"] | @tsv')
    [ "$page" != "$before" ] || break
    all+=$page$'\n'
    [ "$(wc -l <<<"$page")" -ge 100 ] || break
    offset=$((offset + 100))
  done
  OUT=$all
}

# The ids of these lines whose field (id, type, name, description) has this value.
ids_where() {
  local field=$1 value=$2 id type name description
  while IFS=$'\t' read -r id type name description; do
    [ "${!field}" != "$value" ] || echo "$id"
  done <<<"$OUT"
}

# The first of them; empty if there is none.
id_where() {
  local ids
  ids=$(ids_where "$@")
  echo "${ids%%$'\n'*}"
}

# How everything of setup.sh that has a description is recognised: job, id of its project.
marker() {
  printf 'made by setup.sh of sm-tls-sync for job %s of project %s' "$1" "$2"
}

# The authorization between two instances: its id is FOUND (empty if there is none), its roles, without
# spaces, are ROLES.
find_authorization() {
  look ibmcloud iam authorization-policies --output JSON
  OUT=$(ask -r --arg source "$1" --arg target "$2" 'def holds($id): any(.. | objects; .value? == $id);
    first(list | select(([.subjects, .subject] | holds($source)) and ([.resources, .resource] | holds($target))))
    | .id, ([[.roles, .control] | .. | objects | .display_name? // (.role_id? | strings | sub(".*:"; ""))]
      | map(gsub(" "; "")) | join(","))')
  { read -r FOUND && read -r ROLES; } <<<"$OUT" || FOUND='' ROLES=''
}
