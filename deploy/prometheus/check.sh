#!/bin/sh
# Checks that alerts and dashboard name only metrics that the daemon has: check.sh [METRICS]
#
# METRICS is what /metrics answered; without it the names are taken from the source. promtool tries the alerts, where it is.
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
    echo "there is no such metric:" "$unknown" >&2
    exit 1
fi
echo "$(printf '%s\n' "$used" | wc -l) metrics are named, all of them exist"

if command -v promtool >/dev/null; then
    promtool check config prometheus.yml
    promtool test rules tidegate-alerts.test.yml
else
    echo "the alerts were not tried: promtool is not here (Debian's package prometheus has it)"
fi
