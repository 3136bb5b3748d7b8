#!/bin/sh
# Prints the address of the Debian mirror that this machine's apt uses, or that DEBIAN_MIRROR names.
#
# apt itself prints what it would fetch, so every format of source list is understood.
set -eu

suites='bookworm\|trixie\|forky\|sid\|stable\|testing'
mirror=${DEBIAN_MIRROR:-$(apt-get update --print-uris |
    sed -n "s#^'\([^']*\)/dists/\($suites\)/InRelease'.*#\1#p" | head -n 1)}
if [ -z "$mirror" ]; then
    echo "$0: apt's source lists name no Debian mirror; set DEBIAN_MIRROR to the address of one" >&2
    exit 78
fi
echo "${mirror%/}"
