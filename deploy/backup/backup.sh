#!/bin/sh
# Saves the configuration, the secrets and the outbox of a gateway, as root: backup.sh FILE.tar.gz
#
# The script stops the service for some seconds: a copy of an outbox that is being written may be
# inconsistent.
set -eu
umask 077

file=$1
was_active=
if systemctl is-active --quiet tidegate; then
    was_active=yes
    systemctl stop tidegate
    trap 'systemctl start tidegate' EXIT
fi
tar --create --gzip --file "$file" --directory / etc/tidegate var/lib/tidegate
echo "saved to $file, which contains the access key${was_active:+; starting the service again}"
