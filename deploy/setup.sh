#!/usr/bin/env bash
# Installs the programs that the tests drive, when they are missing and this is a Debian-like machine with root.
# What cannot be installed is named; the tests that need it then say so (and fail where CI=true).
set -euo pipefail

missing=()
command -v npm >/dev/null || missing+=(nodejs npm)
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "setup: missing: ${missing[*]}. Install them to run every test." >&2
  exit 0
fi
echo "setup: installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
