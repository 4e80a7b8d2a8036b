#!/usr/bin/env bash
# Installs the programs named on the command line that are missing, where this is a Debian-like machine with root.
# What cannot be installed is named; what needs it then says so (and fails where CI=true).
#
#   deploy/setup.sh java mvn node npm chromium
set -euo pipefail

declare -A package=([java]=openjdk-17-jre-headless [mvn]=maven [node]=nodejs [npm]=npm [chromium]="chromium fonts-noto-cjk")
missing=()
for program in "$@"; do
  # shellcheck disable=SC2206 # several packages may be needed for one program
  command -v "$program" >/dev/null || missing+=(${package[$program]})
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "setup: missing: ${missing[*]}. Install them to build the web parts and to run every test." >&2
  exit 0
fi
echo "setup: installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
