#!/bin/sh
# Checks that alerts and dashboard use only metrics of the daemon: check.sh [METRICS]
#
# METRICS is a saved answer of /metrics; without it the names come from the source. promtool tests the alerts
# where it is installed.
set -eu
cd "$(dirname "$0")"

source=../../src/status/metrics.rs
used=$(grep -oh 'tidegate_[a-z_]*' tidegate-alerts.yml tidegate-alerts.test.yml grafana-dashboard.json | sort -u)
if [ $# = 1 ]; then
    known=$(sed -n 's/^# TYPE \(tidegate_[a-z_]*\) counter/\1_total/p; s/^# TYPE \(tidegate_[a-z_]*\) gauge/\1/p' "$1")
else
    known=$(tr '\n' ' ' < $source | grep -oE 'page\.(gauge|counter)s?\( *"[a-z_]+"' |
        sed -E 's/.*counters?\( *"([a-z_]+)"/tidegate_\1_total/; s/.*gauges?\( *"([a-z_]+)"/tidegate_\1/')
fi

python3 -m json.tool grafana-dashboard.json /dev/null
unknown=$(printf '%s\n' "$used" | while read -r name; do
    printf '%s\n' "$known" | grep -qx "$name" || echo "$name"
done)
if [ -n "$unknown" ]; then
    echo "unknown metric:" "$unknown" >&2
    exit 1
fi
echo "$(printf '%s\n' "$used" | wc -l) metrics are used, and all of them exist"

if command -v promtool >/dev/null; then
    promtool check config prometheus.yml
    promtool test rules tidegate-alerts.test.yml
else
    echo "alerts not tested: promtool is missing (install Debian's package prometheus)"
fi
