#!/bin/sh
# Restores a backup of a gateway on this machine, as root, with the package installed:
# restore.sh FILE.tar.gz
#
# Never run two machines with the same outbox. Both would send its states, with the same times:
# Losant stores them once but bills them twice.
set -eu

file=$1
tar --list --gzip --file "$file" etc/tidegate >/dev/null
systemctl stop tidegate 2>/dev/null || true
# Keep one copy of the present files next to the restored ones.
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
