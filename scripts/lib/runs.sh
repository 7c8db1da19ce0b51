#!/usr/bin/env bash
# Runs of the job, and what they show. Sourced by setup.sh, not run; NAME is its variable.
# shellcheck disable=SC2016,SC2034,SC2153 # variables of jq; variables for and of the scripts

# Runs the job and shows its report; STATUS is its exit status, `failed` if that is all that is known.
# Arguments: what kind of run, more flags.
run_job() {
  local kind=$1 run tries submitted
  shift
  for ((tries = 1; ; tries++)); do
    run="$NAME-$kind-$tries-$(date +%s)"
    begin "$kind run $run" "ibmcloud ce jobrun logs --jobrun $run"
    submitted=0
    try ibmcloud ce jobrun submit --job "$NAME" --name "$run" --env OUTPUT=json --wait --wait-timeout 600 "$@" -q || submitted=$?
    [ "$submitted" -eq 0 ] || cp "$TMP/errors" "$TMP/submit-errors"
    # It is not documented whether a failed run makes that command fail: ask for the run itself.
    if ! glance ibmcloud ce jobrun get --name "$run" --output json -q; then
      [ "$submitted" -eq 0 ] || mv "$TMP/submit-errors" "$TMP/errors"
      fail
    fi
    STATUS=$(ask -r 'if (.status | type) == "string" then .status
        else [.status.conditions[]? | select(.status == "True") | .type] | map(select(. == "Complete" or . == "Failed"))[0] // "" end
      | ascii_downcase | if IN("complete", "completed", "succeeded") then "0" elif . == "failed" then . else "unknown" end')
    [ "$STATUS" != failed ] || SUBMIT_OF_FAILED=$submitted
    read_report "$run"
    # a policy takes minutes to be known everywhere
    if ! "$IS_EARLY" || [ "$tries" -ge "$TRIES" ]; then
      break
    fi
    report 'not yet'
    sleep $((3 * PAUSE))
  done
  if [ "$STATUS" = 0 ]; then report 'done'; else report "failed: $STATUS"; fi
  if [ -n "$REPORT" ]; then
    printf '%s\n' "$SUMMARY" | while read -r label line; do say 11 "  $label" "$line"; done
    [ "$STATUS" = 0 ] || printf '  The whole report:\n%s\n' "$REPORT"
  elif [ "$STATUS" = 0 ]; then
    echo '  Its log did not arrive.'
  else
    say 2 '' 'Its log did not arrive. If the profile is new, wait five minutes and try again: its policies take time to propagate.'
  fi
}

# The report of a run from its log: REPORT (a JSON line), SUMMARY, STATUS, and what it shows. A log may
# come late or, after the end of the run, not at all; then REPORT is empty and STATUS stays.
read_report() {
  local tries found='' status
  REPORT='' SUMMARY='' IS_EARLY=false HAS_PRIVATE_IAM=false HAS_REPLACED=false
  for ((tries = 1; tries <= 4; tries++)); do
    if try ibmcloud ce jobrun logs --jobrun "$1" -q; then
      found=$(jq -nRr '[inputs | fromjson? | objects | select(has("targets") and has("status"))] | last // empty
        | [.. | objects | .reason?, .code?] as $words
        | .status,
          any($words[]; IN("profile-refused", "secret-forbidden", "code-engine-forbidden")),
          (.status != 4 and ($words | index("iam-public") == null)),
          any(.targets[]; .action == "replaced"), tojson,
          # label and text of each line of the summary: what was done, why, warnings, domains
          (.message // "" | gsub("\n"; " ") | "result \(.)"),
          (.targets[:40][]
            | "\(.action) \(.tls_secret)\(if .reason then ": \(.reason), \(.message // "" | gsub("\n"; " "))" else "" end)",
              (.findings[]? | "warning \(.code): \(.message | gsub("\n"; " "))"),
              (.served[]? | "domain \(.domain): \(.state)")),
          (.targets[40:] | if length > 0 then "more \(length) targets, see the log" else empty end)' <<<"$OUT")
    fi
    [ -z "$found" ] || break
    [ "$tries" -eq 4 ] || sleep "$PAUSE"
  done
  [ -n "$found" ] || return 0
  {
    read -r status
    read -r IS_EARLY
    read -r HAS_PRIVATE_IAM
    read -r HAS_REPLACED
    read -r REPORT
    SUMMARY=$(cat)
  } <<<"$found"
  STATUS=$status
}

# What IBM's documents leave open, and the runs have shown.
show_points() {
  echo
  echo "What IBM's documents leave open, and whether these runs confirmed it:"
  seen() { if "$1"; then echo '  confirmed'; else echo '  not seen'; fi; }
  say 12 "$(seen "$HAS_PRIVATE_IAM")" "IAM's private address answers in the job"
  say 12 "$(seen "$HAS_REPLACED")" "the role $ROLE_OF_JOB is enough to replace a TLS secret"
  say 12 '  not tried' 'a run with the service account none gets its token (the job has the default one). To try it:'
  echo "    ibmcloud ce job update --name $NAME --service-account none"
  [ -z "${SUBMIT_OF_FAILED:-}" ] ||
    say 12 '  confirmed' "jobrun submit --wait ends with status $SUBMIT_OF_FAILED if the run failed"
}
