#!/bin/sh
# scripts/local_base_images.sh: makes the base images that docker-compose.yml expects out of Debian's packages, for a
# machine that reaches a Debian mirror and no registry of images. Needs root, debootstrap and a running Docker.
# The stand-in for PostgreSQL has Debian's version of it, and of the official image's settings those that we use.
set -eu
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
python=${BASE_IMAGE:-python:3.11-slim-bookworm}
postgres=${POSTGRES_IMAGE:-postgres:17-bookworm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$work/root" "$mirror"
# What this machine trusts: where a proxy looks into connections, its certificate is among these.
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
ln -s python3 "$work/root/usr/bin/python"
rm -rf "$work/root/var/cache/apt/archives"/*.deb
tar -C "$work/root" -c . | docker import --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" - "$python"
rm -rf "$work/root"

cat > "$work/entrypoint" <<'END'
#!/bin/sh
set -eu
export PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 > /dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent -o "-c listen_addresses=''" start
    psql --username="$POSTGRES_USER" --dbname=postgres --command="create database $POSTGRES_DB" > /dev/null
    pg_ctl --wait --silent stop
fi
exec postgres -c listen_addresses='*'
END
chmod 755 "$work/entrypoint"
cat > "$work/Dockerfile" <<END
FROM $python
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid postgres --home-dir /var/lib/postgresql postgres \\
    && apt-get update && apt-get install --yes --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/* \\
    && rm -rf /var/lib/postgresql/* && ln -s /usr/lib/postgresql/* /usr/lib/postgresql/current \\
    && install --directory --owner=postgres --group=postgres --mode=700 /var/lib/postgresql/data
ENV PATH=/usr/lib/postgresql/current/bin:\$PATH
COPY entrypoint /usr/local/bin/entrypoint
ENTRYPOINT ["entrypoint"]
END
docker build --network host --tag "$postgres" "$work"
