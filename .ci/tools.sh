#!/usr/bin/env bash
# Installs what some tests of the deployment use beside Python: promtool, pgbouncer and redis-cli from Debian (as root),
# and checkers from the package index into .ci/tools. What cannot be had is named, and its tests say that they skip.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! { command -v promtool && command -v pgbouncer && command -v redis-cli; } >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # their services are not wanted: tests start their own
    apt-get update -qq >/dev/null 2>&1
    apt-get install -y -qq --no-install-recommends prometheus pgbouncer redis-tools >/dev/null 2>&1 ||
      echo "prometheus, pgbouncer and redis-tools could not be installed"
  else
    echo "not root on a Debian: install prometheus, pgbouncer and redis-tools by hand"
  fi
fi

lock=$(cksum tools.lock)
if [ "$lock" != "$(cat tools/stamp 2>/dev/null)" ]; then
  rm -rf tools
  python3 -m venv tools &&
    tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools.lock 2>/dev/null &&
    echo "$lock" > tools/stamp || echo "hadolint, squawk and check-jsonschema could not be installed"
fi
