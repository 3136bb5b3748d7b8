"""Reads OpenMetrics text as Prometheus's own client does, which is strict.

Usage: metrics.py < TEXT. The output is one JSON object, `{SAMPLE: [[LABELS, VALUE], ...]}`.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

samples = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, f"{family.name} says nothing of itself"
    for sample in family.samples:
        samples.setdefault(sample.name, []).append([sample.labels, sample.value])
json.dump(samples, sys.stdout)
