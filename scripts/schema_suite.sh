#!/usr/bin/env bash
# Puts the JSON-Schema-Test-Suite, draft 2020-12, into a Python environment, for Tests/Interop/test_schema_suite.py; with
# nothing to do it returns at once.
#
#   scripts/schema_suite.sh .venv
#
# It comes inside the source of jsonschema, in the version of scripts/requirements-test.txt (0.4 MB).
set -euo pipefail

environment=$1
version=$(sed -n 's/^jsonschema\[.*==//p' scripts/requirements-test.txt)
hash=0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326
suite=$environment/schema-suite
stamp=$suite/.version
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]; then exit 0; fi

echo "schemas: fetching the source of jsonschema $version"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
# The hash stands in a file of requirements, the one place where pip reads it.
echo "jsonschema==$version --hash=sha256:$hash" >"$temporary/requirements.txt"
"$environment/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary jsonschema \
  --require-hashes --requirement "$temporary/requirements.txt" --dest "$temporary" </dev/null
rm -rf "$suite"
mkdir -p "$suite"
tar -xzf "$temporary/jsonschema-$version.tar.gz" -C "$suite" --strip-components=4 \
  "jsonschema-$version/json/tests/draft2020-12"
printf '%s\n' "$version" >"$stamp"
