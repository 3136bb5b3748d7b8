#!/bin/sh
# Saves a gateway: configuration, secrets and what waits in the outbox: backup.sh FILE.tar.gz (as root)
#
# The service is stopped meanwhile, because an outbox that is copied while it is written may not be whole. It is back within seconds.
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
echo "saved to $file; it holds the access key${was_active:+, and the service starts again}"
