#!/bin/sh
# The quickstart on the embedded cloud, from the first plan to the last destroy, in a folder of its own.
set -eu
brevplan=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/quickstart/*.hcl "$here"/quickstart/*.pub "$work"
cd "$work"

run() {
    printf '\n$ brevplan %s\n' "$*"
    "$brevplan" "$@"
}

run plan
run apply -auto-approve
run plan -detailed-exitcode
run state list
run output
run history
run destroy -auto-approve
run state list
