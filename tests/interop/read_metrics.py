"""Reads metrics from standard input; writes each series as `NAME TYPE LABELS VALUE`, sorted."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = json.dumps(sample.labels, sort_keys=True)
        print(sample.name, family.type, labels, int(sample.value))
