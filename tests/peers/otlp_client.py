"""Sends logs, spans and metrics with OpenTelemetry's own SDK, and writes down as lines (see otlp_items) what it sent.

    python otlp_client.py --protocol grpc|http/protobuf|http/json --endpoint ADDR --ledger FILE
                          [--temporality delta|cumulative] [--histogram explicit|exponential] [--rounds N] [--id WORD] [--token T]
"""

import argparse
import sys

import otlp_items
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

ENCODERS = {"logs": encode_logs, "metrics": encode_metrics, "traces": encode_spans}
HISTOGRAMS = {
    "explicit": lambda: ExplicitBucketHistogramAggregation(boundaries=[0.1, 1, 10, 100]),
    "exponential": ExponentialBucketHistogramAggregation,
}


def exporters(options):
    """The SDK's three exporters for the protocol, with their options."""
    headers = {"authorization": f"Bearer {options.token}"} if options.token else None
    temporality = {
        "delta": {kind: AggregationTemporality.DELTA for kind in (Counter, Histogram, ObservableCounter)}
        | {UpDownCounter: AggregationTemporality.CUMULATIVE},
        "cumulative": {
            kind: AggregationTemporality.CUMULATIVE for kind in (Counter, Histogram, ObservableCounter, UpDownCounter)
        },
    }[options.temporality]
    metric = {
        "preferred_temporality": temporality,
        "preferred_aggregation": {Histogram: HISTOGRAMS[options.histogram]()},
    }
    if options.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        common = {"endpoint": options.endpoint, "insecure": True, "headers": headers}
        return OTLPLogExporter(**common), OTLPMetricExporter(**common, **metric), OTLPSpanExporter(**common)
    if options.protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter

    def at(signal):
        return {"endpoint": f"http://{options.endpoint}/v1/{signal}", "headers": headers}

    return OTLPLogExporter(**at("logs")), OTLPMetricExporter(**at("metrics"), **metric), OTLPSpanExporter(**at("traces"))


class Recorded:
    """Writes down what an exporter was given and took."""

    failures = 0

    def __init__(self, signal, exporter, ledger):
        self.signal, self.exporter, self.ledger = signal, exporter, ledger
        self.export_itself = exporter.export
        exporter.export = self.export

    def export(self, batch, *arguments, **options):
        result = self.export_itself(batch, *arguments, **options)
        if result not in (LogRecordExportResult.SUCCESS, MetricExportResult.SUCCESS, SpanExportResult.SUCCESS):
            Recorded.failures += 1
            return result
        for item in otlp_items.flatten(self.signal, ENCODERS[self.signal](batch)):
            self.ledger.write(item + "\n")
        return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", required=True, choices=["grpc", "http/protobuf", "http/json"])
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--temporality", default="delta", choices=["delta", "cumulative"])
    parser.add_argument("--histogram", default="explicit", choices=sorted(HISTOGRAMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--id", default="client")
    parser.add_argument("--token")
    options = parser.parse_args()
    with open(options.ledger, "a", encoding="utf-8") as ledger:
        send(options, ledger)
    sys.exit(1 if Recorded.failures else 0)


def send(options, ledger):
    resource = Resource(
        {
            "service.name": "proof-client",
            "service.instance.id": options.id,
            "deployment.environment.name": "test",
            "numbers": [1, 2, 3],
        }
    )
    log_exporter, metric_exporter, span_exporter = exporters(options)
    for signal, exporter in (("logs", log_exporter), ("metrics", metric_exporter), ("traces", span_exporter)):
        Recorded(signal, exporter, ledger)
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logs.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(span_exporter))
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    logger = logs.get_logger("proof.logs", "1.0")
    tracer = traces.get_tracer("proof.spans", "2.0")
    meter = metrics.get_meter("proof.metrics", "3.0")
    counter = meter.create_counter("proof.requests", unit="1", description="Requests of the proof")
    cost = meter.create_counter("proof.cost", unit="USD")
    open_now = meter.create_up_down_counter("proof.open")
    duration = meter.create_histogram("proof.duration", unit="s")
    level = meter.create_gauge("proof.level", unit="By")
    for number in range(options.rounds):
        for worker in ("red", "blue"):
            counter.add(number + 1, {"worker": worker, "ok": True})
            cost.add(0.25 * (number + 1), {"worker": worker})
            open_now.add(1 if number % 2 == 0 else -1, {"worker": worker})
            level.set(1000.5 + number, {"worker": worker})
            for index in range(5):
                duration.record(0.05 * 7**index, {"worker": worker})
        for index in range(20):
            with tracer.start_as_current_span(
                f"step-{index}", kind=SpanKind.CLIENT, attributes={"round": number, "index": index}
            ) as span:
                span.add_event("reached", {"place": "middle"})
                span.set_status(Status(StatusCode.OK) if index % 3 else Status(StatusCode.ERROR))
                with tracer.start_as_current_span("inner", links=[Link(span.get_span_context())]):
                    pass
            logger.emit(
                LogRecord(
                    timestamp=1_700_000_000_000_000_000 + number * 1000 + index,
                    severity_number=SeverityNumber.INFO if index % 2 else SeverityNumber.ERROR,
                    severity_text="INFO" if index % 2 else "ERROR",
                    event_name="proof.event",
                    body=f"record-{number}-{index}",
                    attributes={"index": index, "ratio": index / 7, "flag": index % 2 == 0, "list": ["a", "b"]},
                )
            )
        logs.force_flush()
        traces.force_flush()
        metrics.force_flush()
    logs.shutdown()
    traces.shutdown()
    metrics.shutdown()


if __name__ == "__main__":
    main()
