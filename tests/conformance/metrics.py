"""Parses OpenMetrics text with the strict parser of Prometheus's own client.

    metrics.py < TEXT

The output is one JSON object, `{SAMPLE: [[LABELS, VALUE], ...]}`.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

samples = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, f"{family.name} has no help text"
    for sample in family.samples:
        samples.setdefault(sample.name, []).append([sample.labels, sample.value])
json.dump(samples, sys.stdout)
