#!/usr/bin/env bash
# Who may do what: authorizations between services, trusted profile, link, policies, custom role.
# Sourced by setup.sh, not run; NAME, MARKER and the like are its variables.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

# The smallest role that lets the job replace what exists. `update` neither creates nor deletes.
ROLE=SmTlsSecretUpdater
ROLE_ACTIONS=codeengine.tenant.read,codeengine.tenant.entities.read,codeengine.tenant.entities.update

# Lets one instance use another: source service and id, target service and id, roles by comma.
authorize() {
  local source=$1 from=$2 target=$3 to=$4 roles=$5 held wanted=${5// /}
  begin "authorization $source -> $target: $roles" "ibmcloud iam authorization-policies --output JSON"
  find_authorization "$from" "$to"
  if [ -n "$FOUND" ]; then
    # Roles cannot be added to a policy, and one with fewer roles blocks the complete one: replace it.
    # Roles that are shown in words unknown here are left alone.
    held=$(tr , '\n' <<<"$ROLES" | grep -Fxc -f <(tr , '\n' <<<"$wanted")) || held=0
    if [ "$held" -eq 0 ] || [ "$held" -eq "$(tr , '\n' <<<"$wanted" | wc -l)" ]; then
      report 'already there'
      return
    fi
    change ibmcloud iam authorization-policy-delete "$FOUND" --force
  fi
  make ibmcloud iam authorization-policy-create "$source" "$target" "$roles" \
    --source-service-instance-id "$from" --target-service-instance-id "$to"
}

# The trusted profile; its id is PROFILE_ID.
trusted_profile() {
  local described profile='first(.. | objects | select(.id? | strings | startswith("Profile-"))) | .id, .description'
  begin "trusted profile $NAME" "ibmcloud iam trusted-profile $NAME"
  if glance ibmcloud iam trusted-profile "$NAME" --output JSON -q; then
    OUT=$(ask -r "$profile")
    { read -r PROFILE_ID && read -r described; } <<<"$OUT" || described=
    [ "$described" = "$MARKER" ] || stop \
      "There is already a trusted profile $NAME that was not made for this job of this project." \
      "Choose another --name, or look at it: $LOOK"
    report 'already there'
  else
    make ibmcloud iam trusted-profile-create "$NAME" --description "$MARKER" --output JSON -q
    OUT=$(ask -r "$profile")
    read -r PROFILE_ID <<<"$OUT" || PROFILE_ID=
  fi
  ! "$PLANNING" || : "${PROFILE_ID:=new}"
  [ -n "$PROFILE_ID" ] || stop 'The answer does not contain the id of the profile.'
}

# Exactly this job of exactly this project may assume the profile.
link() {
  local crn=${CRN_OF[$JOB_PROJECT]}
  begin "link of the profile to job $NAME of project ${NAME_OF[$JOB_PROJECT]}" \
    "ibmcloud iam trusted-profile-links $NAME"
  if glance ibmcloud iam trusted-profile-links "$NAME" --output JSON -q &&
    ask -e --arg crn "$crn" --arg job "$NAME" 'any(.. | objects;
      .crn? == $crn and .component_type? == "job" and .component_name? == $job)' >/dev/null; then
    report 'already there'
    return
  fi
  make_patiently ibmcloud iam trusted-profile-link-create "$NAME" --name "ce-job-$NAME" --cr-type CE \
    --link-crn "$crn" --link-component-type job --link-component-name "$NAME"
}

custom_role() {
  local state
  begin "custom role $ROLE" "ibmcloud iam roles --service codeengine --output JSON"
  look ibmcloud iam roles --service codeengine --output JSON
  state=$(ask -r --arg role "$ROLE" --arg actions "$ROLE_ACTIONS" '
    if any(.. | strings; . == $role) | not then "missing"
    elif all(.. | objects | select(.display_name? == $role and has("actions"));
      (.actions | sort) == ($actions | split(",") | sort)) then "same"
    else "other" end')
  case $state in
    same) report 'already there' ;;
    missing)
      make ibmcloud iam role-create "$ROLE" --display-name "$ROLE" --service-name codeengine --actions "$ROLE_ACTIONS"
      ;;
    *)
      stop "There is a role $ROLE whose actions are not $ROLE_ACTIONS." \
        "Remove it (console: Manage > Access (IAM) > Roles), or use --writer."
      ;;
  esac
}

# A project or a secret group, for people.
place_of() {
  if [ -n "$2" ]; then echo "secret group $2"; else echo "project ${NAME_OF[$1]:-$1}"; fi
}

# The policies of the profile. One for each argument: ROLE SERVICE INSTANCE_ID, and SECRET_GROUP_ID.
policies() {
  local states row state role service id group
  begin "policies of the profile" "ibmcloud iam trusted-profile-policies $NAME"
  glance ibmcloud iam trusted-profile-policies "$NAME" --output JSON -q || OUT=null
  # Whatever surrounds a policy, its role is a display name in it and ids are values in it. First the
  # answer for each argument; then what the profile has beyond them.
  states=$(ask -r --arg wanted "$(printf '%s\n' "$@")" '
    [list | {id, values: [.. | objects | .value? // empty],
      roles: [.. | objects | .display_name? // (.role_id? | strings | sub(".*:"; ""))]}] as $is
    | [$wanted | split("\n")[] | split(" ")] as $wanted
    | def grants($w): (.roles | index($w[0])) and ([$w[2:][] | . as $id | .] - .values == []);
      ($wanted[] as $w | any($is[]; grants($w)) | tostring),
      ($is[] | select(.roles | length == 1 and index($wanted[][0])) | select(any($wanted[] as $w | grants($w); .) | not)
        | "\(.id) \(.roles[0]) \(.values | join(" "))")')
  for row in "$@"; do
    read -r state
    read -r role service id group <<<"$row"
    begin "policy: $role on $(place_of "$id" "$group")" \
      "ibmcloud iam trusted-profile-policies $NAME"
    if [ "$state" = true ]; then
      report 'already there'
    else
      make_patiently ibmcloud iam trusted-profile-policy-create "$NAME" --roles "$role" \
        --service-name "$service" --service-instance "$id" ${group:+--resource-type secret-group --resource "$group"}
    fi
  done <<<"$states"
  while read -r id row; do
    begin "policy: $row" "ibmcloud iam trusted-profile-policy-delete $NAME $id --force"
    report 'not needed'
  done < <(tail -n "+$(($# + 1))" <<<"$states")
}
