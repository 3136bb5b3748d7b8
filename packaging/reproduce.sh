#!/bin/sh
# Builds a package again and compares the two: reproduce.sh FILE.deb [tidegate|tidegate-sandbox]
#
# The second build has another directory, umask, time zone and language.
set -eu
file=$(realpath "$1")
package=${2:-tidegate}
cd "$(dirname "$0")/.."

name=${file%.deb}
arch=${name##*_}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$place"
(
    umask 077
    export CARGO_TARGET_DIR="$place/elsewhere" TZ=Pacific/Chatham LC_ALL=C
    "$place/packaging/build.sh" "$arch" "$package" >/dev/null
)
again=$(echo "$place"/elsewhere/debian/*.deb)
sha256sum "$file" "$again"
if cmp --quiet "$file" "$again"; then
    echo "identical, byte for byte"
    exit 0
fi
for deb in "$file" "$again"; do
    dpkg-deb --raw-extract "$deb" "$place/$(sha256sum "$deb" | cut -c 1-16)"
done
diff --recursive --brief "$place/$(sha256sum "$file" | cut -c 1-16)" \
    "$place/$(sha256sum "$again" | cut -c 1-16)" >&2 ||
    echo "the packages differ in these files" >&2
exit 1
