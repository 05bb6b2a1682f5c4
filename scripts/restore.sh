#!/bin/sh
# scripts/restore.sh DIR: what backup.sh wrote, into a stack that has nothing yet.
set -eu
folder=${1:?where from}
compose=${COMPOSE:-docker compose}
for file in mlflow.dump artifacts.tar storage.tar; do
    [ -s "$folder/$file" ] || { echo "restore: $folder/$file is not there or empty" >&2; exit 2; }
done

$compose up --detach postgres
tries=60
until $compose exec -T postgres pg_isready --quiet --username=mlflow --dbname=mlflow; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "restore: PostgreSQL does not come up; see: make logs" >&2; exit 1; }
    sleep 1
done
tables=$($compose exec -T postgres psql --username=mlflow --dbname=mlflow --tuples-only --no-align \
    --command="select count(*) from information_schema.tables where table_schema = 'public'")
[ "$tables" = 0 ] || { echo "restore: the database has $tables tables already; restore into an empty stack" >&2; exit 2; }
$compose exec -T postgres pg_restore --username=mlflow --dbname=mlflow --single-transaction --exit-on-error \
    < "$folder/mlflow.dump"

$compose up --detach  # comes back once MLflow is healthy, because Ray waits for it
$compose exec -T mlflow tar -C /artifacts -xf - < "$folder/artifacts.tar"
$compose exec -T ray-head tar -C /storage -xf - < "$folder/storage.tar"
echo "Restored from $folder."
