/**
 * Spans go to an OpenTelemetry collector (OTLP over HTTP) where `OTEL_EXPORTER_OTLP_ENDPOINT` names one. Without it the SDK is not even
 * loaded. A process in a network namespace that has no way to the collector is given a Unix socket that leads there: `PANDO_OTLP_SOCKET`.
 */
import type { Logger } from './log.ts';

export const otlpEndpointVariable = 'OTEL_EXPORTER_OTLP_ENDPOINT';
export const otlpSocketVariable = 'PANDO_OTLP_SOCKET';

/** Begins to export in a moment, where that was asked for. Whatever goes wrong there is logged, and hinders nothing. */
export const exportSpans = (service: string, log: Logger, env: NodeJS.ProcessEnv = process.env): void => {
  const endpoint = env[otlpEndpointVariable];
  if (endpoint === undefined || endpoint === '' || env.OTEL_SDK_DISABLED === 'true') return;
  import('./otlp.ts').then(
    ({ startExport }) => {
      startExport({
        service,
        endpoint,
        socketPath: env[otlpSocketVariable],
        share: env.OTEL_TRACES_SAMPLER_ARG,
      });
      log.info({ endpoint }, 'spans are exported');
    },
    (error: unknown) => log.warn({ err: error }, 'spans are not exported'),
  );
};
