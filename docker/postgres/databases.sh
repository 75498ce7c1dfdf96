#!/bin/sh
# Make one database for each service; PostgreSQL's image runs this when its volume is new.
set -eu
for service in auth posts uploads messages; do
    createdb --username "$POSTGRES_USER" "$service"
done
