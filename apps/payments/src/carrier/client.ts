/** A carrier reached over HTTP in CAMARA's shape. */
import {
  CarrierError,
  type CarrierResult,
  type LocationVerifier,
  VerifyAnswer,
  verifyPath,
} from './verification.ts';

const answerBytesMax = 16 * 1024;

export interface CarrierClientOptions {
  /** `http://carrier:9091`; the path is CAMARA's. */
  readonly baseUrl: string;
  /** OAuth 2 bearer token, where the carrier wants one. */
  readonly token?: string;
  /** A carrier that takes longer has said nothing. */
  readonly deadlineMs: number;
}

export function carrierClient(options: CarrierClientOptions): LocationVerifier {
  const url = new URL(verifyPath, options.baseUrl);
  const headers = {
    'content-type': 'application/json',
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
  };
  return {
    async verify(request): Promise<CarrierResult> {
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers,
          body: JSON.stringify(request),
          redirect: 'error',
          signal: AbortSignal.timeout(options.deadlineMs),
        });
        const text = await response.text();
        if (text.length > answerBytesMax) return { kind: 'away', why: 'the answer is too large' };
        return read(response.status, JSON.parse(text));
      } catch (error) {
        return { kind: 'away', why: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

function read(status: number, body: unknown): CarrierResult {
  if (status === 200) {
    const answer = VerifyAnswer.parse(body);
    return {
      kind: 'answer',
      result: answer.verificationResult,
      matchRate: answer.verificationResult === 'PARTIAL' ? (answer.matchRate ?? null) : null,
      lastLocationMs: Date.parse(answer.lastLocationTime),
    };
  }
  const error = CarrierError.safeParse(body);
  const code = error.success ? error.data.code : `HTTP ${status}`;
  return status === 422 ? { kind: 'unable', code } : { kind: 'away', why: code };
}
