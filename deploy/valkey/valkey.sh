#!/bin/sh
# Valkey with the password of REDIS_URL_FILE, which stays off the command line: `valkey.sh` runs the server,
# `valkey.sh ping` is its health check. Nothing is evicted: a queue that lost messages would be no queue.
set -eu

password=$(sed -n 's|^rediss\{0,1\}://[^:/@]*:\([^@]*\)@.*|\1|p' "${REDIS_URL_FILE:?}")
[ -n "$password" ] || { echo "valkey: $REDIS_URL_FILE holds no redis://:password@host:6379/0" >&2; exit 2; }

if [ "${1:-}" = ping ]; then
  answer=$(REDISCLI_AUTH=$password valkey-cli -p "${VALKEY_PORT:-6379}" ping)
  [ "$answer" = PONG ]
  exit
fi

exec valkey-server - <<CONF
port ${VALKEY_PORT:-6379}
bind ${VALKEY_BIND:-*}
protected-mode yes
requirepass $password
dir ${VALKEY_DATA:?}
appendonly yes
appendfsync everysec
maxmemory ${VALKEY_MAXMEMORY:-384mb}
maxmemory-policy noeviction
CONF
