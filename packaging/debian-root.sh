#!/bin/sh
# Makes a minimal Debian 12 in a directory, as root: debian-root.sh DIRECTORY [PACKAGE,PACKAGE...]
#
# It comes from the mirror that this machine's apt uses. An existing root is left as it is.
set -eu
cd "$(dirname "$0")/.."

root=$1
include=${2:-}
[ ! -e "$root/.complete" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "$0: only root can make a Debian root" >&2
    exit 77
fi
packaging/tools.sh root
mirror=$(packaging/mirror.sh)
rm -rf --one-file-system "$root"
mkdir -p "$root"
echo "making a minimal Debian 12 in $root"
log=$root.log
debootstrap --variant=minbase ${include:+--include="$include"} bookworm "$root" "$mirror" \
    >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    exit 1
}
: >"$root/etc/machine-id"
: >"$root/.complete"
