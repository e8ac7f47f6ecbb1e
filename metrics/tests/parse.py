"""Reads pages with prometheus_client and prints for each how many families and samples it has."""
import sys
from prometheus_client.parser import text_string_to_metric_families as text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
for name in sys.argv[1:]:
    with open(name, newline="", encoding="utf-8") as file:
        page = file.read()
    families = list((openmetrics if name.endswith(".openmetrics") else text)(page))
    samples = sum(len(family.samples) for family in families)
    lines = sum(1 for line in page.split("\n") if line and not line.startswith("#"))
    assert samples == lines, f"{name}: {samples} samples on {lines} lines"
    forged = [s for f in families for s in f.samples if s.value == 666]
    assert not forged, forged
    print(name, len(families), samples)
