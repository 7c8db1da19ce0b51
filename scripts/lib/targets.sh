#!/usr/bin/env bash
# The targets: one of --certificate and --tls-secret, or many of --targets FILE, the JSON of TARGETS.
# Sourced by setup.sh, not run; IN, NAME and the like are its variables.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

# More bytes than this go into a file: the kernel limits one variable to 131,072.
LARGE=100000

# Reads and checks the file: TARGETS is its compact JSON. What is wrong is added to `bad`.
read_targets() {
  local problems
  if ! TARGETS=$(jq -cn 'first(inputs)' "$1" 2>"$TMP/errors") || [ -z "$TARGETS" ]; then
    bad+=("--targets $1 is not JSON: $(head -n 1 "$TMP/errors")")
    return
  fi
  problems=$(jq -r '
    def check(ok; $what): if ok then empty else $what end;
    def text($pattern; $what): (strings | test($pattern)) // false | if . then empty else $what end;
    def uuid: "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    if type != "array" or length == 0 then "expected an array with at least one target" else
      to_entries[] | .key as $index | .value
      | (if type != "object" then "expected an object" else
          (keys - ["secret_id", "tls_secret", "project_id", "region", "restart_apps", "hold"]
            | check(. == []; "unknown field \(join(", "))")),
          (.secret_id | text("^(crn:.*:secret:)?\(uuid)$"; "secret_id must be the id of a secret")),
          (.tls_secret | text("^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"; "tls_secret must be the name of a TLS secret")),
          (.project_id // empty | text("^\(uuid)$"; "project_id must be the id of a project")),
          (.region // empty | text("^[a-z]+-[a-z]+$"; "region must be a region such as eu-de")),
          (.restart_apps | check(. == null or type == "string" or (type == "array" and all(.[]; type == "string"));
            "restart_apps must be a string or an array of strings")),
          (.hold | check(. == null or type == "boolean"; "hold must be true or false"))
        end) | "target \($index + 1): \(.)"
    end' <<<"$TARGETS")
  [ -z "$problems" ] || while read -r problem; do bad+=("--targets $1: $problem"); done <<<"$problems"
}

# Follows each target to its certificate and its project: SECRET_GROUPS and PROJECTS (ids), the names
# of the TLS secrets by project in TLS_SECRETS. Needs CERTIFICATE_GROUP, unless SM_URL is empty.
declare -A TLS_SECRETS=()
resolve_targets() {
  local rows secret project region name group index=0 bad=()
  local -A groups=() taken=()
  rows=$(jq -r --arg project "$PROJECT" '.[]
    | [(.secret_id | sub("^.*:"; "")), .project_id // $project, .region // "-", .tls_secret] | join(" ")' <<<"$TARGETS")
  PROJECTS=()
  while read -r secret project region name; do
    index=$((index + 1))
    group=${CERTIFICATE_GROUP[$secret]:-}
    if [ -n "$group" ]; then
      groups[$group]=1
    elif [ -n "$SM_URL" ]; then
      bad+=("target $index: no certificate $secret in Secrets Manager ${IN[secrets-manager]}")
    fi
    if [ -z "${CRN_OF[$project]:-}" ]; then
      bad+=("target $index: there is no Code Engine project $project")
    elif [ "${region/#-/${IN[region]}}" != "${REGION_OF[$project]}" ]; then
      bad+=("target $index: project $project is in ${REGION_OF[$project]}: set \"region\": \"${REGION_OF[$project]}\"")
    fi
    [ -z "${taken[$project/$name]:-}" ] ||
      bad+=("target $index: TLS secret $name of project $project is already the one of target ${taken[$project/$name]}")
    taken[$project/$name]=$index
    [ -n "${TLS_SECRETS[$project]:-}" ] || PROJECTS+=("$project")
    TLS_SECRETS[$project]+=" $name"
  done <<<"$rows"
  [ ${#bad[@]} -eq 0 ] || wrong "${bad[@]}"
  if [ -n "$SM_URL" ]; then
    SECRET_GROUPS=("${!groups[@]}")
  else
    IFS=, read -r -a SECRET_GROUPS <<<"${IN[group-id]}"
  fi
}

# The targets that the job has now: TARGETS_NOW, whatever its configuration calls them; `[]` if there is
# none. TARGETS_ARE is the text of the file, if it has one.
read_targets_now() {
  TARGETS_ARE=''
  select_project "$JOB_PROJECT"
  read_config
  if [ "$(jq 'has("TARGETS_FILE")?' <<<"$CONFIG_IS")" = true ] &&
    glance ibmcloud ce configmap get --name "$NAME-targets" --output json -q; then
    TARGETS_ARE=$(ask -r --arg key "$TARGETS_KEY" 'first(.. | objects | select(has($key)) | .[$key]) // ""')
  fi
  TARGETS_NOW=$(jq -c --arg file "$TARGETS_ARE" '.PROJECT_ID? as $project
    | if .TLS_SECRET_NAME? then [{secret_id: .SECRET_ID, tls_secret: .TLS_SECRET_NAME}]
      else (.TARGETS? // $file) | fromjson? // [] end
    | map(.project_id = (.project_id // $project))' <<<"$CONFIG_IS")
}

# What changes from TARGETS_NOW to TARGETS, for people.
show_changes() {
  local lines count id names
  names=$(for id in "${INSTANCES[@]}"; do printf '%s %s\n' "$id" "${NAME_OF[$id]}"; done)
  lines=$(jq -r --arg project "$PROJECT" --argjson now "$TARGETS_NOW" --arg names "$names" '
    ($names | split("\n") | map(capture("^(?<key>[^ ]*) (?<value>.*)$")) | from_entries) as $names
    | def keyed: map({key: "\(.project_id // $project) \(.tls_secret)", value: .}) | from_entries;
    def place: "\(.tls_secret) in project \($names[.project_id // $project] // .project_id)";
    def rest: del(.secret_id, .tls_secret, .project_id, .region) | if . == {} then "" else " \(tojson)" end;
    def source: "certificate \(.secret_id)\(rest)";
    ($now | keyed) as $now | keyed as $new | ($now + $new | keys[]) as $key | $now[$key] as $was | $new[$key] as $is
    | if $was == null then "  + \($is | place): \($is | source)"
      elif $is == null then "  - \($was | place): \($was | source)"
      elif ($was | del(.project_id)) != ($is | del(.project_id)) then
        "  ~ \($is | place): \($was | source) -> \($is | source)"
      else empty end
    | .[0:200]' <<<"$TARGETS")
  if [ -z "$lines" ]; then
    echo "Targets: no change."
    return
  fi
  echo "Targets (+ new, ~ changed, - no longer; their TLS secrets stay):"
  count=$(wc -l <<<"$lines")
  head -n 40 <<<"$lines"
  [ "$count" -le 40 ] || echo "  ... and $((count - 40)) more"
}
