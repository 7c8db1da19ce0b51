#!/usr/bin/env bash
# The same job with curl and jq: what one would write in bash.
#
# Usage: tests/bench/rival.sh
# Needs: curl, jq, and the job's variables, TARGETS included; several targets are handled 8 at a
#        time. Does less than the job: it checks neither the certificate nor the rotation for sense.
# Changes: the TLS secrets in Code Engine.
set -euo pipefail

ask() {
  curl --silent --show-error --fail --cacert "$SSL_CERT_FILE" "$@"
}

# no token and no key in any argument: others could read them
authorization() {
  printf 'Authorization: Bearer %s' "$TOKEN"
}

synchronize() {
  local secret=$1 name=$2 place deployed current answer
  place="$CODE_ENGINE_URL/v2/projects/$PROJECT_ID/secrets/$name?version=2025-07-10"
  deployed=$(ask -H @<(authorization) "$place")
  current=$(ask -H @<(authorization) "$SECRETS_MANAGER_URL/api/v2/secrets/$secret")
  answer=$(jq --slurp '
    .[0] as $deployed | .[1] as $secret
    | ($secret.certificate | sub("\\s*$"; "")) as $certificate
    | (if ($certificate | split("-----END CERTIFICATE-----") | length) == 2 and $secret.intermediate
       then $certificate + "\n" + ($secret.intermediate | sub("\\s*$"; ""))
       else $certificate end + "\n") as $chain
    | { tls_cert: $chain, tls_key: $secret.private_key } as $data
    | if $deployed.data == $data then empty
      else { tag: $deployed.entity_tag, body: { format: "tls", data: $data } } end
  ' <<<"$deployed$current")
  if [ -z "$answer" ]; then
    echo "$name: unchanged"
    return
  fi
  jq .body <<<"$answer" |
    ask -X PUT -H @<(authorization) -H "If-Match: $(jq -r .tag <<<"$answer")" \
      -H 'Content-Type: application/json' --data-binary @- "$place" >/dev/null
  echo "$name: replaced"
}

TOKEN=$(ask "$IAM_URL/identity/token" \
  --data-urlencode grant_type=urn:ibm:params:oauth:grant-type:cr-token \
  --data-urlencode "cr_token@$CR_TOKEN_FILENAME" \
  --data-urlencode "profile_id=$IAM_PROFILE_ID" | jq -r .access_token)

failed=0
pids=()
while read -r secret name; do
  synchronize "$secret" "$name" &
  pids+=($!)
  if [ ${#pids[@]} -ge 8 ]; then
    wait "${pids[0]}" || failed=1
    pids=("${pids[@]:1}")
  fi
done < <(jq -r '.[] | "\(.secret_id) \(.tls_secret)"' <<<"$TARGETS")
for pid in "${pids[@]}"; do
  wait "$pid" || failed=1
done
exit $failed
