#!/usr/bin/env bash
# What setup.sh and teardown.sh are told: flags, variables, answers on a terminal.
# Sourced by them, not run.
#
# A script that uses it sets SCRIPT (its name), PREFIX (of environment variables) and INPUTS (rows of
# NAME|WORTH|MEANING; WORTH is needed, or optional, or optional and what an empty answer means), and
# defines usage, is_asked NAME (does the question make sense?), choices NAME (sets CHOICES, if the answers are
# known) and take_switch ARGUMENT.
# shellcheck disable=SC2034 # the values are for the scripts

# For all inputs: flag --name, variable PREFIX_NAME, value IN[name].
declare -A IN=()
YES=false

variable_of() {
  local name=${1//-/_}
  printf '%s_%s' "$PREFIX" "${name^^}"
}

# The flags and variables, for --help.
show_inputs() {
  local row name worth meaning
  for row in "${INPUTS[@]}"; do
    IFS='|' read -r name worth meaning <<<"$row"
    say 24 "  --$name" "$meaning ($worth)"
  done
  printf 'Each can also be set by an environment variable: --%s by %s.\n' \
    "${INPUTS[0]%%|*}" "$(variable_of "${INPUTS[0]%%|*}")"
}

# Takes --name VALUE or --name=VALUE; TAKEN is the number of words used, 0 if this is not an input.
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

# Takes all arguments.
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

# What no flag set comes from the environment, or is asked for on a terminal.
complete_inputs() {
  local row name worth meaning variable answer number missing=()
  for row in "${INPUTS[@]}"; do
    name=${row%%|*}
    variable=$(variable_of "$name")
    [ -n "${IN[$name]:-}" ] || IN[$name]=${!variable:-}
  done
  for row in "${INPUTS[@]}"; do
    IFS='|' read -r name worth meaning <<<"$row"
    if [ -n "${IN[$name]}" ] || ! is_asked "$name"; then
      continue
    fi
    if [ -t 0 ] && { [[ $worth == needed* ]] || ! "$YES"; }; then
      CHOICES=()
      choices "$name"
      for number in "${!CHOICES[@]}"; do printf '  %d) %s\n' $((number + 1)) "${CHOICES[number]}"; done
      read -r -p "$(say 0 '' "$meaning ($worth)"): " answer || answer=
      [[ ! $answer =~ ^[1-9][0-9]?$ ]] || answer=${CHOICES[answer - 1]:-$answer}
      IN[$name]=$answer
    fi
    if [[ $worth == needed* ]] && [ -z "${IN[$name]}" ]; then
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
    echo "$1 [y/N] (no terminal to ask on; --yes answers yes)"
    return 1
  fi
  read -r -p "$1 [y/N] " answer || answer=
  [[ $answer == [yY]* ]]
}
