#!/usr/bin/env bash
# What is in Code Engine: TLS secrets, configmaps, job, cron subscription; runs of the job.
# Sourced by setup.sh, not run; NAME, MARKER and the like are its variables.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

# Where a job run finds the targets if they are too many for a variable.
TARGETS_FOLDER=/etc/sm-tls-sync
TARGETS_KEY=targets.json

# TLS secrets of a project: its id, their names. Creates the missing ones with a self-signed
# placeholder: the first run replaces it, and no real key passes through this machine.
tls_secrets() {
  local project=$1 name there made=false
  shift
  select_project "$project"
  begin "TLS secrets of project ${NAME_OF[$project]}" "ibmcloud ce secret list"
  # only the table of names: as JSON, this command prints the keys
  try ibmcloud ce secret list -q || OUT=
  there=$(awk '{ print $1 }' <<<"$OUT")
  for name; do
    begin "TLS secret $name in project ${NAME_OF[$project]}" "ibmcloud ce secret get --name $name"
    if grep -qxF -- "$name" <<<"$there"; then
      report 'already there'
      continue
    fi
    if "$PLANNING"; then
      WHAT+=': a self-signed placeholder'
      report 'done'
      continue
    fi
    "$made" || placeholder
    made=true
    if try ibmcloud ce secret create --format tls --name "$name" \
      --cert-chain-file "$TMP/chain.pem" --private-key-file "$TMP/key.pem" -q; then
      report 'done'
    elif grep -qi 'already.exist' "$TMP/errors" "$TMP/out"; then
      report 'already there'
    else
      fail
    fi
  done
  rm -f "$TMP/key.pem"
}

# In the way that OpenSSL and LibreSSL (macOS) of any age know.
placeholder() {
  printf '%s\n' '[req]' 'distinguished_name = dn' 'x509_extensions = names' 'prompt = no' \
    '[dn]' 'CN = placeholder.invalid' '[names]' 'subjectAltName = DNS:placeholder.invalid' >"$TMP/openssl.cnf"
  run openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve \
    -out "$TMP/key.pem"
  run openssl req -x509 -new -config "$TMP/openssl.cnf" -key "$TMP/key.pem" -days 7 -out "$TMP/chain.pem"
}

# The configmap that the job reads as its environment, as it is: CONFIG_IS, a JSON object; null if there
# is none.
read_config() {
  begin "configmap $NAME-config" "ibmcloud ce configmap get --name $NAME-config"
  if glance ibmcloud ce configmap get --name "$NAME-config" --output json -q; then
    CONFIG_IS=$(ask -c 'first(.. | objects | select(has("SECRETS_MANAGER_URL"))) // empty')
    [ -n "$CONFIG_IS" ] || stop "There is already a configmap $NAME-config that setup did not make: choose another --name."
  else
    CONFIG_IS=null
  fi
}

# Brings that configmap to what the arguments say: KEY=VALUE. Keys that go with another way to name
# targets are removed, and names of apps, which only one target can have; everything else stays, HOLD too.
configmap() {
  local name=$NAME-config changed what key set='' remove=''
  read_config
  begin "configmap $name: ${*%%=*}" "$LOOK"
  changed=$(jq -r --arg want "$(printf '%s\n' "$@")" '. as $is
    | ([$want | split("\n")[] | capture("^(?<key>[^=]*)=(?<value>.*)$")] | from_entries) as $want
    | (if $want.TLS_SECRET_NAME then [] else ["SECRET_ID", "TLS_SECRET_NAME"]
        + (if $is.RESTART_APPS == "auto" then [] else ["RESTART_APPS"] end) end) as $single
    | ($want | keys[] | select($is[.] != $want[.]) | "set \(.)"),
      (($single + ["TARGETS", "TARGETS_FILE"])[] | select($is[.] != null and $want[.] == null) | "remove \(.)")
    ' <<<"$CONFIG_IS")
  if [ -z "$changed" ]; then
    report 'already there'
    return
  fi
  printf '%s\n' "$@" >"$TMP/job.env"
  if [ "$CONFIG_IS" = null ]; then
    make ibmcloud ce configmap create --name "$name" --from-env-file "$TMP/job.env" -q
    return
  fi
  while read -r what key; do
    if [ "$what" = set ]; then set+=" $key"; else remove+=" $key"; fi
  done <<<"$changed"
  [ -n "${IN[targets]}" ] ||
    stop "It has other values for:$set$remove." \
      "One job for several certificates: list all of them in a file, and use --targets." \
      "Another job for this certificate: choose another --name." \
      "This certificate instead of the other one: ibmcloud ce configmap delete --name $name, then run $SCRIPT again."
  # In two steps: it is not documented whether one command takes both.
  # shellcheck disable=SC2046,SC2086 # words
  [ -z "$remove" ] || change ibmcloud ce configmap update --name "$name" $(printf ' --rm %s' $remove) -q
  change ibmcloud ce configmap update --name "$name" --from-env-file "$TMP/job.env" -q
  WHAT="configmap $name:${set:+ sets$set}${remove:+ removes$remove}"
  report changed
}

# The configmap that holds the targets as a file: its name is $NAME-targets. Argument: the JSON.
targets_configmap() {
  local name=$NAME-targets action
  begin "configmap $name: $TARGETS_KEY" "ibmcloud ce configmap get --name $name"
  printf '%s' "$1" >"$TMP/$TARGETS_KEY"
  if [ "${TARGETS_ARE:-}" = "$1" ]; then
    report 'already there'
  elif glance ibmcloud ce configmap get --name "$name" --output json -q; then
    change ibmcloud ce configmap update --name "$name" --from-file "$TARGETS_KEY=$TMP/$TARGETS_KEY" -q
    report changed
  else
    make ibmcloud ce configmap create --name "$name" --from-file "$TARGETS_KEY=$TMP/$TARGETS_KEY" -q
  fi
}

# The job, from a given image or built from this directory. Arguments: image, registry secret, and
# whether the targets are mounted.
job() {
  local image=$1 registry_secret=$2 mounted=$3 source=(--build-source . --build-dockerfile Containerfile
    --build-size large --build-timeout 1200 --wait-timeout 1500)
  [ -z "$image" ] || source=(--image "$image")
  [ -z "$registry_secret" ] || source+=(--registry-secret "$registry_secret")
  ! "$mounted" || source+=(--mount-configmap "$TARGETS_FOLDER=$NAME-targets")
  begin "job $NAME" "ibmcloud ce job get --name $NAME"
  if glance ibmcloud ce job get --name "$NAME" --output json -q; then
    job_is_there "$image" "$mounted"
    return
  fi
  [ -n "$image" ] || WHAT+=', built from this directory'
  if "$PLANNING"; then
    report 'done'
    return
  fi
  [ -n "$image" ] || echo 'building in Code Engine: this takes some minutes'
  # The service account stays `default`: it is not documented whether a run without one gets its
  # compute resource token, and without the token it can do nothing.
  if try ibmcloud ce job create --name "$NAME" "${source[@]}" --trusted-profiles-enabled \
    --env-from-configmap "$NAME-config" --mode task --array-size 1 --retrylimit 2 --maxexecutiontime 420 \
    --cpu 0.125 --memory 0.25G --ephemeral-storage 400M; then
    report 'done'
  elif [ -n "$image" ]; then
    fail
  else
    build_failed
  fi
}

# The job exists: is it ours, has it this image, and the mount that it needs?
job_is_there() {
  local image=$1 mounted=$2 strings is_mounted=false
  strings=$(ask -r '.. | strings')
  grep -qxF -- "$NAME-config" <<<"$strings" ||
    stop "There is already a job $NAME that does not use the configmap $NAME-config: choose another --name."
  ! grep -qxF -- "$NAME-targets" <<<"$strings" || is_mounted=true
  if [ -n "$image" ] && ! grep -qxF -- "$image" <<<"$strings"; then
    WHAT+=" (with another image; to change it: ibmcloud ce job update --name $NAME --image $image)"
  fi
  if [ "$mounted" = "$is_mounted" ]; then
    report 'already there'
  elif "$mounted"; then
    change ibmcloud ce job update --name "$NAME" --mount-configmap "$TARGETS_FOLDER=$NAME-targets" -q
    WHAT+=": mounts configmap $NAME-targets"
    report changed
  else
    change ibmcloud ce job update --name "$NAME" --mount-rm "$TARGETS_FOLDER" -q
    change ibmcloud ce configmap delete --name "$NAME-targets" --force --ignore-not-found
    WHAT+=": no longer mounts configmap $NAME-targets"
    report changed
  fi
}

# Ends the script after a build: its log, and the way out if there is one.
build_failed() {
  local run why=()
  run=$(cat "$TMP/out" "$TMP/errors" | grep -Eo "build ?run (get |logs )?(-n |--name |')?$NAME-[a-z0-9-]+" | grep -Eo "$NAME-[a-z0-9-]+$" | tail -n 1) || run=
  LOOK="ibmcloud ce buildrun list"
  [ -z "$run" ] || LOOK="ibmcloud ce buildrun logs --buildrun $run"
  mapfile -t why < <(cat "$TMP/errors" "$TMP/out" | tail -n 20)
  if [ -n "$run" ] && try ibmcloud ce buildrun logs --buildrun "$run"; then
    mapfile -t -O "${#why[@]}" why < <(tail -n 20 "$TMP/out")
    why+=("The whole log: $LOOK")
  else
    why+=("The log, with a name from the list: ibmcloud ce buildrun logs --buildrun NAME")
  fi
  if printf '%s\n' "${why[@]}" | grep -Eqi 'toomanyrequests|too many requests|rate limit'; then
    why+=("The registry of the base image limits anonymous pulls. Try again later, or build the image yourself"
      "(scripts/image) and use --image.")
  fi
  stop "${why[@]}"
}

# A time of day that differs from project to project, between 1 and 6 o'clock (UTC).
spread_schedule() {
  local number
  number=$(printf '%s' "$1" | cksum | cut -d' ' -f1)
  printf '%d %d * * *' $((number % 60)) $((1 + number / 60 % 5))
}

cron() {
  local schedule=$1 name=$NAME-reconcile
  begin "cron subscription $name: $schedule (UTC)" "ibmcloud ce subscription cron get --name $name"
  if glance ibmcloud ce subscription cron get --name "$name" --output json -q; then
    if ! ask -e --arg schedule "$schedule" 'any(.. | strings; . == $schedule)' >/dev/null; then
      WHAT+=" (with another schedule; to change it: ibmcloud ce subscription cron update --name $name --schedule '$schedule')"
    fi
    report 'already there'
    return
  fi
  make ibmcloud ce subscription cron create --name "$name" --destination "$NAME" --destination-type job \
    --schedule "$schedule" --time-zone UTC --data '{"action":"reconcile"}' --content-type application/json -q
}
