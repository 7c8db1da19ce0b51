#!/bin/sh
# What the scripts need on this machine. Sourced by them, not run.
#
# Plain POSIX shell, and sourced before anything else: a bash that is too old for the scripts (macOS
# ships 3.2) must still be able to read this file and say so.

# Ends the script before it did anything: one line per argument.
wrong() {
  printf "$SCRIPT: %s\n" "$@" >&2
  exit 2
}

# bash 4.4 or newer?
bash_is_new() {
  case ${BASH_VERSION:-} in
    4.[4-9]* | [5-9].* | [1-9][0-9].*) return 0 ;;
    *) return 1 ;;
  esac
}

# Prints the version of a plug-in in `ibmcloud plugin list` (standard input), and `old` if it is older
# than the least one (X.Y.Z). Prints nothing if the plug-in is not there.
plugin_state() {
  awk -v name="$1" -v least="$2" '
    $1 == name || index($1, name "[") == 1 || index($1, name "/") == 1 {
      state = "new"
      if (match($0, /[0-9]+\.[0-9]+\.[0-9]+/)) {
        version = substr($0, RSTART, RLENGTH)
        split(version, is, "."); split(least, needed, ".")
        for (i = 1; i <= 3; i++)
          if (is[i] + 0 != needed[i] + 0) {
            if (is[i] + 0 < needed[i] + 0) state = "old"
            break
          }
      }
      print version, state
      exit
    }'
}

# The oldest version of a plug-in that has what the scripts use.
least_version() {
  case $1 in
    code-engine) echo 1.52.0 ;; # --trusted-profiles-enabled
    event-notifications) echo 1.15.2 ;; # older ones are deprecated
    secrets-manager) echo 2.0.0 ;; # notifications-registration
  esac
}

# Checks bash, programs (first argument), ibmcloud, its plug-ins (second), and the login. Names
# everything that is missing and then ends the script with 2.
need_tools() {
  programs=$1 plugins=$2 missing=
  lacks() {
    missing="$missing$SCRIPT: $1
"
  }
  bash_is_new || lacks "bash 4.4 or newer is missing (this is ${BASH_VERSION:-another shell}); on macOS: brew install bash"
  for program in $programs ibmcloud; do
    command -v "$program" >/dev/null 2>&1 || lacks "$program is missing: install it"
  done
  if command -v ibmcloud >/dev/null 2>&1; then
    installed=$(ibmcloud plugin list 2>/dev/null) || installed=
    for plugin in $plugins; do
      least=$(least_version "$plugin")
      state=$(printf '%s\n' "$installed" | plugin_state "$plugin" "$least")
      case $state in
        '') lacks "the plug-in $plugin is missing: ibmcloud plugin install $plugin -f" ;;
        *old) lacks "the plug-in $plugin ${state% old} is too old ($least is needed): ibmcloud plugin update $plugin" ;;
      esac
    done
    target=$(ibmcloud target 2>&1) || target='not logged in'
    case $target in
      *[Nn]ot\ logged\ in*) lacks 'not logged in: ibmcloud login -r REGION -g RESOURCE_GROUP (--sso with a federated ID)' ;;
    esac
  fi
  [ -z "$missing" ] || {
    printf '%s' "$missing" >&2
    exit 2
  }
}
