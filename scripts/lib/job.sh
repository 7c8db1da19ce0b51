#!/usr/bin/env bash
# What stands in Code Engine: TLS secret, configmap, job, cron subscription; runs of the job.
# Sourced by setup.sh, not run; NAME, MARKER and the like are its variables.
# shellcheck disable=SC2034,SC2153

# A TLS secret that the first run replaces: a self-signed one sets no bar, and no real key passes here.
tls_secret() {
  local name=$1
  begin "TLS secret $name in project $PROJECT_NAME" "ibmcloud ce secret get --name $name"
  if glance ibmcloud ce secret get --name "$name" -q; then
    report 'already there'
    return
  fi
  look openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 \
    -subj /CN=placeholder.invalid -addext subjectAltName=DNS:placeholder.invalid \
    -keyout "$TMP/key.pem" -out "$TMP/chain.pem"
  make ibmcloud ce secret create --format tls --name "$name" \
    --cert-chain-file "$TMP/chain.pem" --private-key-file "$TMP/key.pem" -q
  rm "$TMP/key.pem"
}

# The job's environment: arguments are KEY=VALUE.
configmap() {
  local name=$NAME-config wanted differing
  begin "configmap $name: $(printf '%s\n' "$@" | cut -d= -f1 | paste -sd ' ')" "ibmcloud ce configmap get --name $name"
  if glance ibmcloud ce configmap get --name "$name" --output json -q; then
    wanted=$(jq -nc '[$ARGS.positional[] | capture("^(?<key>[^=]*)=(?<value>.*)$")] | from_entries' --args "$@")
    differing=$(jq -r --argjson want "$wanted" '(first(.. | objects | select(has("SECRETS_MANAGER_URL"))) // {}) as $is
      | [$want | to_entries[] | select($is[.key] != .value) | .key] | join(", ")' <<<"$OUT")
    [ -z "$differing" ] || stop "It says something else in: $differing." \
      "For another certificate choose another --name (or TARGETS, see README.md); to take over what setup was" \
      "told now: ibmcloud ce configmap delete --name $name, and setup again."
    report 'already there'
    return
  fi
  printf '%s\n' "$@" >"$TMP/job.env"
  make ibmcloud ce configmap create --name "$name" --from-env-file "$TMP/job.env" -q
}

# The job, from a given image or built from this directory.
job() {
  local image=$1 registry_secret=$2 source=(--build-source . --build-dockerfile Containerfile
    --build-size large --build-timeout 1200 --wait-timeout 1500)
  [ -z "$image" ] || source=(--image "$image")
  [ -z "$registry_secret" ] || source+=(--registry-secret "$registry_secret")
  begin "job $NAME" "ibmcloud ce job get --name $NAME"
  if glance ibmcloud ce job get --name "$NAME" --output json -q; then
    jq -e --arg config "$NAME-config" 'any(.. | strings; . == $config)' <<<"$OUT" >/dev/null ||
      stop "There is a job $NAME already that does not use the configmap $NAME-config: choose another --name."
    if [ -n "$image" ] && ! jq -e --arg image "$image" 'any(.. | strings; . == $image)' <<<"$OUT" >/dev/null; then
      WHAT+=" (with another image; to change it: ibmcloud ce job update --name $NAME --image $image)"
    fi
    report 'already there'
    return
  fi
  [ -n "$image" ] || echo 'building in Code Engine: this takes some minutes'
  # The service account stays `default`: that a run without one gets its compute resource token is
  # not documented, and without the token it can do nothing.
  make ibmcloud ce job create --name "$NAME" "${source[@]}" --trusted-profiles-enabled \
    --env-from-configmap "$NAME-config" --mode task --array-size 1 --retrylimit 2 --maxexecutiontime 420 \
    --cpu 0.125 --memory 0.25G --ephemeral-storage 400M -q
}

# A time of the day that differs from project to project, between 1 and 6 o'clock (UTC).
spread_schedule() {
  local number
  number=$(printf '%s' "$1" | cksum | cut -d' ' -f1)
  printf '%d %d * * *' $((number % 60)) $((1 + number / 60 % 5))
}

cron() {
  local schedule=$1 name=$NAME-reconcile
  begin "cron subscription $name: $schedule (UTC)" "ibmcloud ce subscription cron get --name $name"
  if glance ibmcloud ce subscription cron get --name "$name" --output json -q; then
    if ! jq -e --arg schedule "$schedule" 'any(.. | strings; . == $schedule)' <<<"$OUT" >/dev/null; then
      WHAT+=" (with another schedule; to change it: ibmcloud ce subscription cron update --name $name --schedule '$schedule')"
    fi
    report 'already there'
    return
  fi
  make ibmcloud ce subscription cron create --name "$name" --destination "$NAME" --destination-type job \
    --schedule "$schedule" --time-zone UTC --data '{"action":"reconcile"}' --content-type application/json -q
}

# Runs the job and shows its report, REPORT; STATUS is its exit status, empty if there is no report.
# Arguments: what kind of run, further flags.
run_job() {
  local kind=$1 run tries submitted
  shift
  for ((tries = 1; ; tries++)); do
    run="$NAME-$kind-$tries-$(date +%s)"
    begin "$kind run $run" "ibmcloud ce jobrun logs --jobrun $run"
    submitted=0
    try ibmcloud ce jobrun submit --job "$NAME" --name "$run" --wait --wait-timeout 600 "$@" -q || submitted=$?
    [ "$submitted" -eq 0 ] || cp "$TMP/errors" "$TMP/submit-errors"
    # whether a failed run makes the command above fail is not documented: ask for the run itself
    if ! glance ibmcloud ce jobrun get --name "$run" --output json -q; then
      [ "$submitted" -eq 0 ] || mv "$TMP/submit-errors" "$TMP/errors"
      fail
    fi
    ENDED=$(jq -r 'first(.. | objects | select(.status? == "True") | .type? // empty
      | select(. == "Complete" or . == "Failed")) // .status? // "unknown" | tostring' <<<"$OUT")
    [ "$ENDED" = Complete ] || SUBMIT_OF_FAILED=$submitted
    look ibmcloud ce jobrun logs --jobrun "$run" -q
    REPORT=$(jq -cR 'fromjson? | objects | select(has("targets") and has("status"))' <<<"$OUT" | tail -n 1)
    STATUS=$(jq -r .status <<<"$REPORT")
    # a policy takes minutes to be known everywhere
    if [ "$tries" -ge "$TRIES" ] || ! jq -e 'any(.. | objects; (.reason? // .code? // "") as $word
        | ["profile-refused", "secret-forbidden", "code-engine-forbidden"] | index($word))' <<<"$REPORT" >/dev/null; then
      break
    fi
    report 'not yet'
    sleep $((3 * PAUSE))
  done
  if [ "$STATUS" = 0 ]; then
    report 'done'
  else
    report "failed: ${STATUS:-no report}"
  fi
  if [ -n "$REPORT" ]; then
    jq -r '"  " + .message' <<<"$REPORT"
    printf '  %s\n' "$REPORT"
  else
    tail -n 20 "$TMP/out" | sed 's/^/  /'
  fi
}

# What the documents leave open and a run has shown.
show_points() {
  local seen=seen
  echo
  echo "What IBM's documents leave open, and what these runs showed:"
  token_problem() { jq -e 'any(.. | objects | .reason?, .code?; . == "token-file-missing" or . == "token-file-unreadable")' <<<"$REPORT"; }
  if [ -z "$REPORT" ] || token_problem >/dev/null; then
    seen='not seen'
  fi
  printf '  %-9s the token file is there, and readable for the user of the image\n' "$seen"
  if [ "$seen" = 'not seen' ] || [ "$STATUS" = 4 ] || jq -e 'any(.. | objects; .code? == "iam-public")' <<<"$REPORT" >/dev/null; then
    seen='not seen'
  fi
  printf "  %-9s IAM's private address answers in the job\n" "$seen"
  if jq -e 'any(.targets[]; .action == "replaced")' <<<"${REPORT:-null}" >/dev/null 2>&1; then
    seen=seen
  else
    seen='not seen'
  fi
  printf '  %-9s the role %s is enough to replace a TLS secret\n' "$seen" "$ROLE_OF_JOB"
  printf '  %-9s a run with the service account none gets its token (the job has: default; to try it:\n' 'not tried'
  printf '            ibmcloud ce job update --name %s --service-account none, then a dry run)\n' "$NAME"
  if [ -n "${SUBMIT_OF_FAILED:-}" ]; then
    printf '  %-9s jobrun submit --wait ends with status %s if the run failed\n' seen "$SUBMIT_OF_FAILED"
  fi
}
