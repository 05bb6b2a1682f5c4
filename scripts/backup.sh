#!/bin/sh
# scripts/backup.sh DIR: MLflow's database, its artifacts and the sweeps' results. Sweeps may run on: results are written
# whole or not at all, and MLflow, which is a view of them, catches up from whatever moment the dump is of.
set -eu
folder=${1:?where to}
compose=${COMPOSE:-docker compose}
[ ! -e "$folder" ] || { echo "backup: $folder is there already; name a new folder" >&2; exit 2; }
umask 077
mkdir -p "$folder.part"

$compose exec -T postgres pg_dump --username=mlflow --format=custom mlflow > "$folder.part/mlflow.dump"
$compose exec -T mlflow tar -C /artifacts -cf - . > "$folder.part/artifacts.tar"
$compose exec -T ray-head tar -C /storage -cf - --exclude=./incoming . > "$folder.part/storage.tar"

mv "$folder.part" "$folder"
du -sh "$folder"
