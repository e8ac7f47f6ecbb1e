// Sends logs, spans and metrics with OpenTelemetry's own SDK for Node, and writes down what it sent: a line a request,
// `SIGNAL BASE64-OF-THE-REQUEST`, for otlp_items.py.
//
//     node otlp_client.mjs --protocol grpc|http/protobuf|http/json --endpoint ADDR --ledger FILE
//                          [--temporality delta|cumulative] [--histogram explicit|exponential] [--rounds N] [--id WORD]

import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import * as transformer from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationTemporality, AggregationType, InstrumentType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const { values: options } = parseArgs({
  options: {
    protocol: { type: 'string' },
    endpoint: { type: 'string' },
    ledger: { type: 'string' },
    temporality: { type: 'string', default: 'delta' },
    histogram: { type: 'string', default: 'explicit' },
    rounds: { type: 'string', default: '3' },
    id: { type: 'string', default: 'node' },
  },
});
const FLAVOUR = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' }[options.protocol];
const SERIALIZERS = {
  logs: transformer.ProtobufLogsSerializer,
  metrics: transformer.ProtobufMetricsSerializer,
  traces: transformer.ProtobufTraceSerializer,
};
let failures = 0;

// The exporter of a signal, which writes down what it was given and took.
async function exporter(signal, name, settings = {}) {
  const word = { logs: 'logs', metrics: 'metrics', traces: 'trace' }[signal];
  const library = await import(`@opentelemetry/exporter-${word}-otlp-${FLAVOUR}`);
  const url = FLAVOUR === 'grpc' ? `http://${options.endpoint}` : `http://${options.endpoint}/v1/${signal}`;
  const made = new library[name]({ url, ...settings });
  const exportItself = made.export.bind(made);
  made.export = (batch, done) => {
    const request = Buffer.from(SERIALIZERS[signal].serializeRequest(batch)).toString('base64');
    exportItself(batch, (result) => {
      if (result.code === 0) appendFileSync(options.ledger, `${signal} ${request}\n`);
      else failures += 1;
      done(result);
    });
  };
  return made;
}

const resource = resourceFromAttributes({
  'service.name': 'proof-node',
  'service.instance.id': options.id,
  numbers: [1, 2, 3],
});
const isDelta = options.temporality === 'delta';
const metricExporter = await exporter('metrics', 'OTLPMetricExporter', {
  temporalityPreference: isDelta ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
  aggregationPreference: (instrument) =>
    instrument === InstrumentType.HISTOGRAM && options.histogram === 'exponential'
      ? { type: AggregationType.EXPONENTIAL_HISTOGRAM }
      : { type: AggregationType.DEFAULT },
});
const logs = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: await exporter('logs', 'OTLPLogExporter') })] });
const traces = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(await exporter('traces', 'OTLPTraceExporter'))],
});
const metrics = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })],
});
const logger = logs.getLogger('proof.logs', '1.0');
const tracer = traces.getTracer('proof.spans', '2.0');
const meter = metrics.getMeter('proof.metrics', '3.0');
const counter = meter.createCounter('proof.requests', { unit: '1', description: 'Requests of the proof' });
const cost = meter.createCounter('proof.cost', { unit: 'USD' });
const open = meter.createUpDownCounter('proof.open');
const duration = meter.createHistogram('proof.duration', { unit: 's' });
const level = meter.createGauge('proof.level', { unit: 'By' });

for (let round = 0; round < Number(options.rounds); round += 1) {
  for (const worker of ['red', 'blue']) {
    counter.add(round + 1, { worker, ok: true });
    cost.add(0.25 * (round + 1), { worker });
    open.add(round % 2 === 0 ? 1 : -1, { worker });
    level.record(1000.5 + round, { worker });
    for (let index = 0; index < 5; index += 1) duration.record(0.05 * 7 ** index, { worker });
  }
  for (let index = 0; index < 20; index += 1) {
    const span = tracer.startSpan(`step-${index}`, { kind: SpanKind.CLIENT, attributes: { round, index } });
    span.addEvent('reached', { place: 'middle' });
    span.setStatus({ code: index % 3 ? SpanStatusCode.OK : SpanStatusCode.ERROR });
    span.end();
    logger.emit({
      timestamp: new Date(1_700_000_000_000 + round * 1000 + index),
      severityNumber: index % 2 ? SeverityNumber.INFO : SeverityNumber.ERROR,
      severityText: index % 2 ? 'INFO' : 'ERROR',
      eventName: 'proof.event',
      body: `record-${round}-${index}`,
      attributes: { index, ratio: index / 7, flag: index % 2 === 0, list: ['a', 'b'] },
    });
  }
  await logs.forceFlush();
  await traces.forceFlush();
  await metrics.forceFlush();
}
await logs.shutdown();
await traces.shutdown();
await metrics.shutdown();
process.exit(failures ? 1 : 0);
