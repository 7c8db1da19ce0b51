#!/usr/bin/env bash
# Who may do what: authorizations between services, trusted profile, link, policies, custom role.
# Sourced by setup.sh, not run; NAME, MARKER and the like are its variables.
# shellcheck disable=SC2034,SC2153

# The smallest role that lets the job replace what is there. `update` is neither create nor delete.
ROLE=SmTlsSecretUpdater
ROLE_ACTIONS=codeengine.tenant.read,codeengine.tenant.entities.read,codeengine.tenant.entities.update

# Lets one instance use another: source service and id, target service and id, roles by comma.
authorize() {
  local source=$1 from=$2 target=$3 to=$4 roles=$5 missing
  begin "authorization $source -> $target: $roles" "ibmcloud iam authorization-policies --output JSON"
  find_authorization "$from" "$to"
  if [ -n "$FOUND" ]; then
    missing=$(jq -r --arg roles "$roles" '($roles | split(",")) - [.roles[].display_name] | join(",")' <<<"$FOUND")
    if [ -z "$missing" ]; then
      report 'already there'
      return
    fi
    # one with fewer roles would block the whole one, and a policy's roles cannot be added to here
    look ibmcloud iam authorization-policy-delete "$(jq -r .id <<<"$FOUND")" --force
  fi
  make ibmcloud iam authorization-policy-create "$source" "$target" "$roles" \
    --source-service-instance-id "$from" --target-service-instance-id "$to"
}

# The trusted profile; its id is PROFILE_ID.
trusted_profile() {
  local described
  begin "trusted profile $NAME" "ibmcloud iam trusted-profile $NAME"
  if glance ibmcloud iam trusted-profile "$NAME" --output JSON -q; then
    described=$(jq -r 'first(.. | objects | .description? // empty)' <<<"$OUT")
    [ "$described" = "$MARKER" ] || stop \
      "There is a trusted profile $NAME already that was not made for this job of this project." \
      "Choose another --name, or look at it: $LOOK"
    report 'already there'
  else
    make ibmcloud iam trusted-profile-create "$NAME" --description "$MARKER" --output JSON -q
  fi
  PROFILE_ID=$(jq -r 'first(.. | objects | .id? // empty | tostring | select(startswith("Profile-")))' <<<"$OUT")
  [ -n "$PROFILE_ID" ] || stop "The answer holds no id of the profile."
}

# Exactly this job of exactly this project may assume the profile.
link() {
  local crn=$1
  begin "link of the profile to job $NAME of project $JOB_PROJECT_NAME" "ibmcloud iam trusted-profile-links $NAME"
  if glance ibmcloud iam trusted-profile-links "$NAME" --output JSON -q &&
    jq -e --arg crn "$crn" --arg job "$NAME" 'any(.. | objects;
      .crn? == $crn and .component_type? == "job" and .component_name? == $job)' <<<"$OUT" >/dev/null; then
    report 'already there'
    return
  fi
  make ibmcloud iam trusted-profile-link-create "$NAME" --name "ce-job-$NAME" --cr-type CE \
    --link-crn "$crn" --link-component-type job --link-component-name "$NAME"
}

custom_role() {
  begin "custom role $ROLE" "ibmcloud iam roles --service codeengine --output JSON"
  look ibmcloud iam roles --service codeengine --output JSON -q
  if jq -e --arg role "$ROLE" 'any(.. | strings; . == $role)' <<<"$OUT" >/dev/null; then
    jq -e --arg role "$ROLE" --arg actions "$ROLE_ACTIONS" 'all(.. | objects
        | select(.display_name? == $role and has("actions"));
        (.actions | sort) == ($actions | split(",") | sort))' <<<"$OUT" >/dev/null ||
      stop "There is a role $ROLE with other actions than $ROLE_ACTIONS." \
        "Remove it (console: Manage > Access (IAM) > Roles), or use --writer."
    report 'already there'
    return
  fi
  make ibmcloud iam role-create "$ROLE" --display-name "$ROLE" --service-name codeengine --actions "$ROLE_ACTIONS"
}

# A policy of the profile: role, service, instance id, and further flags that narrow it.
grant() {
  local role=$1 service=$2 guid=$3 last
  shift 3
  last=${!#}
  begin "policy of the profile: $role on $service $guid${*:+ $*}" "ibmcloud iam trusted-profile-policies $NAME"
  [ $# -gt 0 ] || last=$guid
  # whatever the shape around a policy: the role is a display_name in it, ids are values in it
  if glance ibmcloud iam trusted-profile-policies "$NAME" --output JSON -q &&
    jq -e --arg role "$role" --arg guid "$guid" --arg last "$last" 'any(.. | objects | select(has("id"));
      ([.. | .display_name? // empty] | index($role)) and
      ([.. | .value? // empty] | index($guid) and index($last)))' <<<"$OUT" >/dev/null; then
    report 'already there'
    return
  fi
  make ibmcloud iam trusted-profile-policy-create "$NAME" --roles "$role" \
    --service-name "$service" --service-instance "$guid" "$@"
}
