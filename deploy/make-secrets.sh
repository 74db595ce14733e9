#!/bin/sh
# Makes what is missing in ./secrets (or the folder given) for docker-compose.yml, and leaves what is there alone.
# The key of MatchaAI and the addresses of notices it cannot make: those files are empty until you fill them.
set -eu
umask 077
folder=${1:-secrets}
mkdir -p "$folder"
# The folder is closed to others; its files are not, because the containers' users (999, 10001) read them.
chmod 700 "$folder"

random() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # keep NAME CONTENT
  if [ ! -e "$folder/$1" ]; then
    printf '%s' "$2" > "$folder/$1"
    echo "made $folder/$1"
  fi
  chmod 644 "$folder/$1"
}

keep postgres_password "$(random)"
keep database_url "postgresql://llm_refresh_app:$(random)@postgres:5432/llm_refresh"
keep migrate_database_url "postgresql://llm_refresh_owner:$(random)@postgres:5432/llm_refresh"
keep redis_url "redis://:$(random)@valkey:6379/0"
keep jwt_secret "$(random)"
keep metrics_token "$(random)"
keep flower_password "$(random)"
keep notify_webhook_secret "whsec_$(head -c 32 /dev/urandom | base64)"
keep notify_urls ""
keep matchaai_api_key ""
[ -s "$folder/matchaai_api_key" ] || echo "put the key of MatchaAI into $folder/matchaai_api_key; while it is empty, refreshes read the built-in mapping"
