/** The OpenTelemetry SDK, fed with our spans. Loaded by `spanExport.ts` alone, when it was asked for. */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { type EndedSpan, endedSpans } from './spans.ts';

/** A process that is ended loses what it has not sent yet: this much at most. */
const sendEveryMs = 1_000;
const sendTimeoutMs = 5_000;
const waitingSpansMax = 4_096;
const connectionsMax = 2;

export interface ExportOptions {
  readonly service: string;
  /** Of the collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it: `/v1/traces` is added. */
  readonly endpoint: string;
  /** Connections go there instead of to the endpoint's address. */
  readonly socketPath?: string | undefined;
  /** Part of all traces that is kept, 0 to 1, the same ones in every process. Absent or no number: all. */
  readonly share?: string | undefined;
}

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** The SDK makes up ids; ours are in frames and rows already. */
class GivenIds {
  next = { traceId: '', spanId: '' };
  generateTraceId = (): string => this.next.traceId;
  generateSpanId = (): string => this.next.spanId;
}

const samplerOf = (share: string | undefined) => {
  const ratio = Number(share ?? '1');
  return ratio >= 0 && ratio < 1 ? new TraceIdRatioBasedSampler(ratio) : new AlwaysOnSampler();
};

/** Exports every span that ends from now on. Resolves what it answers when all of them have been sent. */
export const startExport = ({
  service,
  endpoint,
  socketPath,
  share,
}: ExportOptions): (() => Promise<void>) => {
  const ids = new GivenIds();
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
    timeoutMillis: sendTimeoutMs,
    // An agent's options become those of its connections; a socket's path counts before host and port.
    httpAgentOptions: { maxSockets: connectionsMax, ...(socketPath === undefined ? {} : { socketPath }) },
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': `pando-${service}`, 'service.namespace': 'pando' }),
    sampler: samplerOf(share),
    idGenerator: ids,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        scheduledDelayMillis: sendEveryMs,
        exportTimeoutMillis: sendTimeoutMs,
        maxQueueSize: waitingSpansMax,
      }),
    ],
  });
  const tracer = provider.getTracer('pando');
  const onEnded = (message: unknown): void => {
    const span = message as EndedSpan;
    const { traceId, spanId, parentId } = span;
    const parent = { traceId, spanId: parentId ?? '', traceFlags: TraceFlags.SAMPLED, isRemote: true };
    const context = parentId === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
    ids.next = { traceId, spanId };
    // The wall clock is read once: a span is as long as it was, whatever the clock does meanwhile.
    const endMs = Date.now();
    const sdkSpan = tracer.startSpan(
      span.name,
      { kind: kinds[span.kind], startTime: endMs - span.ms, attributes: span.attributes },
      context,
    );
    if (span.code !== undefined) sdkSpan.setStatus({ code: SpanStatusCode.ERROR, message: span.code });
    sdkSpan.end(endMs);
  };
  endedSpans.subscribe(onEnded);
  return async () => {
    endedSpans.unsubscribe(onEnded);
    await provider.shutdown();
  };
};
