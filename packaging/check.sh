#!/bin/sh
# Checks the systemd unit and all shell scripts, without building a package.
set -eu
cd "$(dirname "$0")/.."

# The highest exposure that `systemd-analyze security` may report, in tenths: 0 is closed, 100 is
# wide open.
exposure_max=15

packaging/tools.sh check

shellcheck --external-sources .ci/run benches/suite/*.sh tests/*.sh tests/hardware/*.sh \
    packaging/*.sh packaging/debian/post* deploy/*/*.sh

# "verify" expects the program to be installed. It reports unknown settings as warnings only, so
# any output is a failure.
unit=$(mktemp -d)
trap 'rm -rf "$unit"' EXIT
sed 's#/usr/bin/tidegate#/bin/true#' packaging/tidegate.service >"$unit/tidegate.service"
warnings=$(systemd-analyze verify --man=no "$unit/tidegate.service" 2>&1) || true
if [ -n "$warnings" ]; then
    echo "$warnings" >&2
    exit 1
fi
report=$(systemd-analyze security --offline=true --no-pager --threshold=$exposure_max \
    packaging/tidegate.service) || {
    echo "$report" >&2
    exit 1
}
echo "$report" | tail -n 1
