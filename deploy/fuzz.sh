#!/bin/bash
# Fuzzes every target there is, two at a time, each for ten seconds or for the
# time given: bash deploy/fuzz.sh 10m. An input that breaks one is written to
# the testdata beside it, and is a test from then on.
#
# What is new to a target is made smaller in ten tries at most, or that is all a
# short time is spent on. Before Go 1.27 a target may fail for nothing but that
# its time was over (go.dev/issue/75804): such a failure has no input, and is none.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 fuzztime=${1:-10s}

fuzz() { # PACKAGE TARGET
  local said
  if ! said=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" -fuzzminimizetime 10x -parallel 1 "$1" 2>&1) &&
    [[ $said != *"    context deadline exceeded"* || $said == *"Failing input"* || $said == *panic:* ]]; then
    printf '%s\n' "$said"
    return 1
  fi
  printf '%-26s %-24s %s\n' "$1" "$2" "$(grep -o 'execs: [0-9]*' <<< "$said" | tail -n 1)"
}
export -f fuzz

grep -roE --include='*_test.go' '^func Fuzz\w+' . |
  sed -E 's#/[^/]*:func # #' | sort -u |
  xargs -P 2 -L 1 bash -c 'fuzz "$@"' fuzz
