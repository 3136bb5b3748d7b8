#!/bin/sh
# Checks that the alerts and the dashboard use only metrics that the daemon exports:
# check.sh [METRICS]
#
# METRICS is a file with an answer of /metrics. Without it the script takes the names from the
# source. If promtool is installed, the script runs the tests of the alerts, too.
set -eu
cd "$(dirname "$0")"

source=../../src/status/metrics.rs
used=$(cat tidegate-alerts.yml tidegate-alerts.test.yml grafana-dashboard.json |
    grep -o 'tidegate_[a-z_]*' | sort -u)
if [ $# = 1 ]; then
    known=$(sed -n -e 's/^# TYPE \(tidegate_[a-z_]*\) counter/\1_total/p' \
        -e 's/^# TYPE \(tidegate_[a-z_]*\) gauge/\1/p' "$1")
else
    known=$(tr '\n' ' ' < $source | grep -oE 'page\.(gauge|counter)s?\( *"[a-z_]+"' |
        sed -E -e 's/.*counters?\( *"([a-z_]+)"/tidegate_\1_total/' \
            -e 's/.*gauges?\( *"([a-z_]+)"/tidegate_\1/')
fi

python3 -m json.tool grafana-dashboard.json /dev/null
unknown=$(printf '%s\n' "$used" | while read -r name; do
    printf '%s\n' "$known" | grep -qx "$name" || echo "$name"
done)
if [ -n "$unknown" ]; then
    echo "unknown metrics:" "$unknown" >&2
    exit 1
fi
echo "the alerts and the dashboard use $(printf '%s\n' "$used" | wc -l) metrics; all of them exist"

if command -v promtool >/dev/null; then
    promtool check config prometheus.yml
    promtool test rules tidegate-alerts.test.yml
else
    echo "the alerts were NOT tested: promtool is missing (it is in Debian's package prometheus)"
fi
