#!/bin/sh
# Run once by the postgres image, in an empty data folder: the database, the three roles that policies name, and the two
# logins, with the passwords of the addresses in DATABASE_URL_FILE and MIGRATE_DATABASE_URL_FILE. By hand it does the
# same on any PostgreSQL 16 or newer (psql as a superuser: PGHOST, PGUSER and so on say where). Run again it mends.
set -eu

part() { # part N FILE: 1 user, 2 password, 3 database
  found=$(sed -n "s|^postgres[a-z+]*://\([^:/@]*\):\([^@]*\)@[^/]*/\([^?]*\).*|\\$1|p" "$2")
  [ -n "$found" ] || { echo "roles.sh: $2 holds no postgresql://user:password@host:5432/database" >&2; exit 2; }
  printf %s "$found"
}

: "${DATABASE_URL_FILE:=/run/secrets/database_url}" "${MIGRATE_DATABASE_URL_FILE:=/run/secrets/migrate_database_url}"
APP=$(part 1 "$DATABASE_URL_FILE")
APP_PASSWORD=$(part 2 "$DATABASE_URL_FILE")
OWNER=$(part 1 "$MIGRATE_DATABASE_URL_FILE")
OWNER_PASSWORD=$(part 2 "$MIGRATE_DATABASE_URL_FILE")
DATABASE=$(part 3 "$MIGRATE_DATABASE_URL_FILE")
export APP APP_PASSWORD OWNER OWNER_PASSWORD DATABASE

# The names and passwords come through the environment, so that they stand in no command line.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-${PGUSER:-postgres}}" --dbname postgres <<'SQL'
\getenv app APP
\getenv app_password APP_PASSWORD
\getenv owner OWNER
\getenv owner_password OWNER_PASSWORD
\getenv database DATABASE
SET log_statement = 'none';
SELECT format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted) FROM unnest(ARRAY['authenticated', 'operator', 'service_role']) AS wanted
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec
SELECT format('CREATE ROLE %I', wanted) FROM unnest(ARRAY[:'owner', :'app']) AS wanted
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB CREATEROLE PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'app_password';
-- The owner may give the roles on and not take them; the application takes one in each transaction.
GRANT authenticated, operator, service_role TO :"owner" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
GRANT authenticated, operator, service_role TO :"app" WITH INHERIT FALSE, SET TRUE;
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app";
SQL
