"""OTLP requests as plain lines, one an item, so that what was sent and what arrived can be compared as sets.

A line has everything of the item, its scope and its resource but what a collector may add on the way: attributes of the
names in STAMPED, and those that begin with `muster.`.

    python otlp_items.py flatten FILE     FILE has lines `SIGNAL BASE64-OF-A-REQUEST`; prints the items
"""

import base64
import sys

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
NAMES = {"logs": "logs", "metrics": "metrics", "traces": "spans"}
STAMPED = {"user.name", "host.name"}
POINTS = {"gauge", "sum", "histogram", "exponential_histogram", "summary"}


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(entry) for entry in any_value.array_value.values]
    if kind == "kvlist_value":
        return attributes(any_value.kvlist_value.values)
    return (kind, getattr(any_value, kind)) if kind else None


def attributes(pairs):
    kept = [(pair.key, value(pair.value)) for pair in pairs]
    return sorted((k, repr(v)) for k, v in kept if k not in STAMPED and not k.startswith("muster."))


def item_id(pairs):
    for pair in pairs:
        if pair.key == "muster.item.id":
            return pair.value.string_value
    return None


def ids(signal, request):
    """The identifying attribute of each log record, or trace and span id of each span."""
    for resource in resources(signal, request):
        for scope in scopes(signal, resource):
            if signal == "logs":
                yield from (item_id(record.attributes) for record in scope.log_records)
            elif signal == "traces":
                yield from (f"{span.trace_id.hex()}.{span.span_id.hex()}" for span in scope.spans)


def resources(signal, request):
    return getattr(request, f"resource_{NAMES[signal]}")


def scopes(signal, resource):
    return getattr(resource, f"scope_{NAMES[signal]}")


def fields(message, left_out=()):
    """The set fields of a message as sorted pairs; attributes in the common form."""
    out = []
    for descriptor, content in message.ListFields():
        name = descriptor.name
        if name in left_out:
            continue
        if name in ("attributes", "filtered_attributes"):
            content = attributes(content)
        elif name == "body":
            content = value(content)
        elif descriptor.message_type and descriptor.message_type.name not in POINTS:
            many = content if hasattr(content, "__len__") and not hasattr(content, "ListFields") else [content]
            content = [fields(entry) for entry in many]
        elif hasattr(content, "__iter__") and not isinstance(content, (str, bytes)):
            content = list(content)
        if content not in ([], None):
            out.append((name, content))
    return sorted(out, key=lambda pair: pair[0])


def flatten(signal, request):
    for resource in resources(signal, request):
        where = (attributes(resource.resource.attributes), resource.schema_url)
        for scope in scopes(signal, resource):
            origin = (where, fields(scope.scope), scope.schema_url)
            if signal == "logs":
                yield from (line(signal, origin, fields(record)) for record in scope.log_records)
            elif signal == "traces":
                yield from (line(signal, origin, fields(span)) for span in scope.spans)
            else:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    data = getattr(metric, kind)
                    about = (metric.name, metric.unit, metric.description, kind, fields(data, ("data_points",)))
                    yield from (line(signal, origin, (about, fields(point))) for point in data.data_points)


def line(signal, origin, item):
    return repr((signal, origin, item))


def main():
    _, what, path = sys.argv
    assert what == "flatten", what
    with open(path, encoding="ascii") as file:
        for entry in file:
            signal, payload = entry.split()
            for item in flatten(signal, REQUESTS[signal].FromString(base64.b64decode(payload))):
                print(item)


if __name__ == "__main__":
    main()
