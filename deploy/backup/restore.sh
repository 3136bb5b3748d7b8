#!/bin/sh
# Puts a saved gateway onto this machine: restore.sh FILE.tar.gz (as root, with the package installed)
#
# Never let two machines run with the same outbox: what waits in it would be sent twice, with the same times, which Losant stores once but
# bills twice.
set -eu

file=$1
tar --list --gzip --file "$file" etc/tidegate >/dev/null
systemctl stop tidegate 2>/dev/null || true
# What is here stays beside it, once.
for path in /etc/tidegate /var/lib/tidegate; do
    if [ -e "$path" ]; then
        rm -rf "$path.before-restore"
        cp -a "$path" "$path.before-restore"
        find "$path" -mindepth 1 -delete
    fi
done
tar --extract --gzip --preserve-permissions --file "$file" --directory /
chown -R tidegate:tidegate /var/lib/tidegate
tidegate check --quiet
systemctl start tidegate
echo "restored from $file"
