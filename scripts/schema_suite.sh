#!/usr/bin/env bash
# Puts the JSON-Schema-Test-Suite, draft 2020-12, into a Python environment, for Tests/Interop/test_schema_suite.py.
#
#   scripts/schema_suite.sh .venv
#
# It comes inside the source of jsonschema, in the version of scripts/requirements-test.txt (0.4 MiB).
set -euo pipefail

exec scripts/package_source.sh "$1" jsonschema "$(sed -n 's/^jsonschema\[.*==//p' scripts/requirements-test.txt)" \
  0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326 schema-suite 4 '*/json/tests/draft2020-12/*'
