#!/usr/bin/env bash
# What setup.sh and teardown.sh share: inputs, questions, calls of ibmcloud, one line per step.
# Sourced by them, not run.
#
# A script that uses it sets SCRIPT (its name), PREFIX (of environment variables) and INPUTS (rows of
# NAME|WORTH|MEANING; WORTH is needed, or optional, or optional and what an empty answer means).
# shellcheck disable=SC2034 # TAKEN, EN_CRN and the like are for the scripts

# For all inputs: flag --name, variable PREFIX_NAME, value IN[name].
declare -A IN=()
YES=false
# No request with its headers on the screen, whatever the caller traces.
export IBMCLOUD_TRACE=false BLUEMIX_TRACE=false
# Rights and sources that were made a moment ago are not known everywhere at once.
TRIES=6
PAUSE=${SETUP_PAUSE:-10}
NOT_YET='authori[sz]|forbidden|permission|(role|source|profile|policy).*(not|no) |BXNIM|status[: ]*40[134]'

umask 077
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
WHAT='the beginning' LOOK="ibmcloud target"
set -E
trap '[ "$BASH_SUBSHELL" -gt 0 ] || printf "%s: an answer was not understood at: %s [%s]\n" "$SCRIPT" "$WHAT" "$LOOK" >&2' ERR

# Wrong use: nothing was done. One line per argument.
wrong() {
  printf '%s: %s\n' "$SCRIPT" "$@" >&2
  exit 2
}

variable_of() {
  local name=${1//-/_}
  printf '%s_%s' "$PREFIX" "${name^^}"
}

# The flags and variables, for --help.
show_inputs() {
  local row name worth meaning
  for row in "${INPUTS[@]}"; do
    IFS='|' read -r name worth meaning <<<"$row"
    printf '  --%-20s %s\n' "$name" "$meaning ($worth)"
  done
  printf 'Each of these can be given as a variable as well: --%s as %s.\n' \
    "${INPUTS[0]%%|*}" "$(variable_of "${INPUTS[0]%%|*}")"
}

# Takes --name VALUE or --name=VALUE; says how many words it used in TAKEN, 0 if it is no input.
take_input() {
  local row name
  TAKEN=0
  for row in "${INPUTS[@]}"; do
    name=${row%%|*}
    if [[ $1 == --$name=* ]]; then
      IN[$name]=${1#*=} TAKEN=1
    elif [ "$1" = "--$name" ]; then
      [ $# -ge 2 ] || wrong "--$name needs a value"
      IN[$name]=$2 TAKEN=2
    fi
  done
}

# Takes all arguments: inputs, --yes, --help (`usage` of the script), and the switches that
# `take_switch` of the script knows.
read_inputs() {
  while [ $# -gt 0 ]; do
    case $1 in
      --yes) YES=true ;;
      --help | -h) usage && exit 0 ;;
      *)
        if ! take_switch "$1"; then
          take_input "$@"
          [ "$TAKEN" -gt 0 ] || wrong "unknown argument: $1 (see --help)"
          shift $((TAKEN - 1))
        fi
        ;;
    esac
    shift
  done
}

# What no flag gave comes from the environment, or is asked on a terminal. `is_asked NAME` of the
# script tells whether a question makes sense.
complete_inputs() {
  local row name worth meaning variable answer missing=()
  for row in "${INPUTS[@]}"; do
    IFS='|' read -r name worth meaning <<<"$row"
    variable=$(variable_of "$name")
    [ -n "${IN[$name]:-}" ] || IN[$name]=${!variable:-}
  done
  for row in "${INPUTS[@]}"; do
    IFS='|' read -r name worth meaning <<<"$row"
    if [ -n "${IN[$name]}" ] || ! is_asked "$name"; then
      continue
    fi
    if [ -t 0 ] && { [ "$worth" = needed ] || ! "$YES"; }; then
      read -r -p "$meaning ($worth): " answer || answer=
      IN[$name]=$answer
    fi
    if [ "$worth" = needed ] && [ -z "${IN[$name]}" ]; then
      missing+=("--$name is missing: $meaning (or $(variable_of "$name"))")
    fi
  done
  [ ${#missing[@]} -eq 0 ] || wrong "${missing[@]}"
}

# Asks for a yes; without a terminal and without --yes the answer is no.
agreed() {
  local answer
  if "$YES"; then
    return 0
  fi
  if ! [ -t 0 ]; then
    echo "$1 [y/N] (no terminal to ask; --yes answers yes)"
    return 1
  fi
  read -r -p "$1 [y/N] " answer || answer=
  [[ $answer == [yY]* ]]
}

# Programs (arguments), plug-ins, login: everything that is missing, at once.
check_tools() {
  local tool plugin missing=()
  for tool in "$@" ibmcloud; do
    command -v "$tool" >/dev/null || missing+=("$tool is missing: install it")
  done
  if command -v ibmcloud >/dev/null; then
    ibmcloud plugin list >"$TMP/plugins" 2>/dev/null || true
    for plugin in code-engine event-notifications secrets-manager; do
      grep -q "^$plugin" "$TMP/plugins" ||
        missing+=("plug-in $plugin is missing: ibmcloud plugin install $plugin -f")
    done
    if ! ibmcloud target >"$TMP/target" 2>&1 || grep -qi 'not logged in' "$TMP/target"; then
      missing+=("nobody is logged in: ibmcloud login")
    fi
  fi
  [ ${#missing[@]} -eq 0 ] || wrong "${missing[@]}"
}

# --- steps ---

# The step that is under way: what it makes, and the command that shows it.
begin() {
  WHAT=$1 LOOK=$2
}

report() {
  printf '%-14s %s  [%s]\n' "$1" "$WHAT" "$LOOK"
}

# Ends the script after a command failed: what, why, where to look, how to go on.
fail() {
  local why
  mapfile -t why < <(cat "$TMP/errors" "$TMP/out")
  stop "${why[@]}"
}

# Ends the script: one argument for each line of why.
stop() {
  report failed
  {
    printf '  %s\n' "$@"
    printf '%s: stopped at: %s. Once that is mended, run it again: it goes on from here.\n' \
      "$SCRIPT" "$WHAT"
  } >&2
  exit 1
}

# Runs a command; its output is OUT. Its failure is its status, for the caller.
try() {
  local status=0
  "$@" >"$TMP/out" 2>"$TMP/errors" </dev/null || status=$?
  OUT=$(<"$TMP/out")
  return "$status"
}

# A look that must succeed, be there something or not.
look() {
  try "$@" || fail
}

# A look at one thing: how the command ends if there is none is not documented, so a failure and an
# empty answer are the same.
glance() {
  try "$@" && [ -n "$OUT" ]
}

# Makes something, and says so.
make() {
  local tries
  for ((tries = 1; ; tries++)); do
    if try "$@"; then
      report 'done'
      return
    fi
    if grep -q policy_conflict_error "$TMP/errors" "$TMP/out"; then
      report 'already there'
      return
    fi
    if [ "$tries" -ge "$TRIES" ] || ! grep -Eqi "$NOT_YET" "$TMP/errors" "$TMP/out"; then
      fail
    fi
    sleep "$PAUSE"
  done
}

# --- look-ups that both scripts need ---

# One service instance by name or id, in any resource group; FOUND is its JSON.
find_instance() {
  local service=$1 wanted=$2 kind=$3 known
  shift 3
  begin "$kind $wanted" "ibmcloud resource service-instances --service-name $service --all-resource-groups"
  look ibmcloud resource service-instances --service-name "$service" --all-resource-groups --output json -q "$@"
  FOUND=$(jq -c --arg w "$wanted" '[.[]? | select(.name == $w or .guid == $w)]' <<<"$OUT")
  case $(jq length <<<"${FOUND:-[]}") in
    1) FOUND=$(jq -c '.[0]' <<<"$FOUND") ;;
    0 | '')
      known=$(jq -r '[.[]?.name] | join(", ")' <<<"$OUT")
      wrong "there is no $kind $wanted; there are: ${known:-none}" \
        "where to look: $LOOK"
      ;;
    *)
      known=$(jq -r '[.[].guid] | join(", ")' <<<"$FOUND")
      wrong "several of $kind are named $wanted: give the id of one: $known"
      ;;
  esac
}

find_project() {
  find_instance codeengine "$1" "Code Engine project" --location "${IN[region]}"
}

find_event_notifications() {
  find_instance event-notifications "${IN[event-notifications]}" "Event Notifications instance"
  EN_GUID=$(jq -r .guid <<<"$FOUND")
  EN_CRN=$(jq -r .crn <<<"$FOUND")
  local region
  region=$(cut -d: -f6 <<<"$EN_CRN")
  export IBMCLOUD_EN_ENDPOINT="https://$region.event-notifications.cloud.ibm.com/event-notifications"
}

# Leads the commands of Code Engine to a project: its JSON.
select_project() {
  local name guid group
  name=$(jq -r .name <<<"$1")
  guid=$(jq -r .guid <<<"$1")
  group=$(jq -r .resource_group_id <<<"$1")
  begin "project $name selected" "ibmcloud ce project current"
  look ibmcloud target -r "${IN[region]}" -g "$group"
  look ibmcloud ce project select --id "$guid"
}

# All pages of a list of Event Notifications, as one JSON array in OUT: name of the array, command.
pages() {
  local list=$1 offset=0 all='[]'
  shift
  while :; do
    look "$@" --instance-id "$EN_GUID" --limit 100 --offset "$offset" --output json -q
    all=$(jq -c --arg list "$list" --argjson all "$all" '$all + (.[$list] // [])' <<<"$OUT")
    [ "$(jq --arg list "$list" '.[$list] // [] | length' <<<"$OUT")" -eq 100 ] || break
    offset=$((offset + 100))
  done
  OUT=$all
}

# The id of the entry in OUT whose description is this; empty if there is none.
marked() {
  jq -r --arg m "$1" 'first(.[] | select(.description == $m) | .id) // empty' <<<"$OUT"
}

# How everything that has a description is recognised as ours.
marker() {
  printf "made by setup.sh of sm-tls-sync for job %s of project %s" "$1" "$2"
}

# The authorization between two instances, as JSON in FOUND; empty if there is none.
find_authorization() {
  look ibmcloud iam authorization-policies --output JSON -q
  FOUND=$(jq -c --arg s "$1" --arg t "$2" 'first(.[]
    | select(any(.subjects[0].attributes[]; .name == "serviceInstance" and .value == $s))
    | select(any(.resources[0].attributes[]; .name == "serviceInstance" and .value == $t))) // empty' <<<"$OUT")
}
