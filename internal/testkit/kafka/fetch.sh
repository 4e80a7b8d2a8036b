#!/bin/sh
# Copies Apache Kafka's published jars into <repository>/.cache/kafka/<version>/ by their Maven coordinates (pom.xml)
# and checks each against jars.sha256. Installs nothing: it says what is missing and stops.
#
#   fetch.sh            fetch unless the cache is already complete; prints the directory of the jars
#   fetch.sh --record   fetch afresh and rewrite jars.sha256 (after a deliberate change of pom.xml)
#
# Exit codes: 0 the jars are there and checked, 3 java or mvn is missing, anything else a failure.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)
version=$(sed -n '/<artifactId>kafka_2.13</{n;s/.*<version>\(.*\)<\/version>.*/\1/p;}' "$here/pom.xml")
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
dir=$root/.cache/kafka/$version

# sums prints or checks SHA-256 checksums, with whichever tool this system has.
sums() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# verify succeeds only if the directory holds exactly the listed jars, each with its recorded checksum.
verify() {
	[ -d "$1" ] &&
		[ "$(cd "$1" && ls -1 | LC_ALL=C sort)" = "$(sed 's/^[0-9a-f]* [ *]//' "$here/jars.sha256" | LC_ALL=C sort)" ] &&
		(cd "$1" && sums -c "$here/jars.sha256") >/dev/null
}

if [ "${1:-}" != --record ] && verify "$dir" 2>/dev/null; then
	echo "$dir"
	exit 0
fi

missing=
command -v java >/dev/null 2>&1 || missing="$missing java (17 or newer)"
command -v mvn >/dev/null 2>&1 || missing="$missing mvn"
if [ -n "$missing" ]; then
	echo "fetch.sh: missing:$missing. On Debian: apt-get install openjdk-17-jre-headless maven" >&2
	exit 3
fi

mkdir -p "$root/.cache/kafka"
work=$(mktemp -d "$root/.cache/kafka/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mvn --batch-mode --quiet --file "$here/pom.xml" "$plugin:copy-dependencies" \
	-DincludeScope=runtime -DoutputDirectory="$work/jars" >&2

if [ "${1:-}" = --record ]; then
	(cd "$work/jars" && sums -- *.jar) >"$here/jars.sha256"
fi
if ! verify "$work/jars"; then
	echo "fetch.sh: the downloaded jars differ from jars.sha256; refused" >&2
	exit 1
fi
rm -rf "$dir"
mv "$work/jars" "$dir"
echo "$dir"
