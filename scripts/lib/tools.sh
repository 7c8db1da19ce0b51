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

# The other name of a plug-in, and the oldest version that has what the scripts use.
plugin_facts() {
  case $1 in
    code-engine) echo ce 1.52.0 ;; # --trusted-profiles-enabled
    event-notifications) echo en 1.15.2 ;; # older ones are deprecated
    secrets-manager) echo sm 2.0.0 ;; # notifications-registration
  esac
}

# Looks for a plug-in (names, least version) in `ibmcloud plugin list` on standard input. Prints its
# version and `old` or `new`; nothing if it is not there. A version that cannot be read is new.
plugin_state() {
  awk -v name="$1" -v other="$2" -v least="$3" '
    {
      names = $1
      gsub(/[^-a-z]/, " ", names)
      names = " " names " "
    }
    index(names, " " name " ") || index(names, " " other " ") {
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

# Checks bash, programs (first argument), ibmcloud, its plug-ins (second), and the login. Names
# everything that is missing and then ends the script with 2.
need_tools() {
  programs=$1 plugins=$2 missing=
  lacks() {
    missing="$missing$SCRIPT: $1
"
  }
  bash_is_new || lacks "bash 4.4 or newer is missing (this is ${BASH_VERSION:-another shell}); on macOS: brew install bash"
  for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || lacks "$program is missing: install it"
  done
  if command -v ibmcloud >/dev/null 2>&1; then
    installed=$(ibmcloud plugin list 2>/dev/null) || installed=
    for plugin in $plugins; do
      facts=$(plugin_facts "$plugin")
      other=${facts% *} least=${facts#* }
      state=$(printf '%s\n' "$installed" | plugin_state "$plugin" "$other" "$least")
      case $state in
        '') lacks "the plug-in $plugin is missing: ibmcloud plugin install $plugin -f" ;;
        *old) lacks "the plug-in $plugin ${state% old} is too old ($least is needed): ibmcloud plugin update $plugin" ;;
      esac
    done
    target=$(ibmcloud target 2>&1) || target='not logged in'
    case $target in
      *[Nn]ot\ logged\ in*) lacks 'not logged in: ibmcloud login -r REGION -g RESOURCE_GROUP (--sso with a federated ID)' ;;
    esac
  else
    program=ibmcloud
    lacks "$program is missing: install it (https://cloud.ibm.com/docs/cli), or use IBM Cloud Shell"
  fi
  [ -z "$missing" ] || {
    printf '%s' "$missing" >&2
    exit 2
  }
}
