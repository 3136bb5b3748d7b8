#!/bin/sh
# Checks the unit and the scripts without building a package.
set -eu
cd "$(dirname "$0")/.."

# The most that `systemd-analyze security` may find, in tenths: 0 is closed, 100 is wide open.
exposure_max=15

missing=
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v shellcheck >/dev/null || missing="$missing shellcheck"
if [ -n "$missing" ]; then
    echo "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends $missing >/dev/null
fi

shellcheck --external-sources .ci/run tests/prepare.sh packaging/*.sh packaging/debian/post* deploy/*/*.sh

# "verify" wants the program to be there, and only prints what it does not know.
unit=$(mktemp -d)
trap 'rm -rf "$unit"' EXIT
sed 's#/usr/bin/tidegate#/bin/true#' packaging/tidegate.service > "$unit/tidegate.service"
told=$(systemd-analyze verify --man=no "$unit/tidegate.service" 2>&1) || true
if [ -n "$told" ]; then
    echo "$told" >&2
    exit 1
fi
judged=$(systemd-analyze security --offline=true --no-pager --threshold=$exposure_max packaging/tidegate.service) || {
    echo "$judged" >&2
    exit 1
}
echo "$judged" | tail -n 1
