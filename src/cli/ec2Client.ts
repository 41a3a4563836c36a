/** The command line's own client of the EC2 API: signs, sends, reads the answer. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { progress, UserError } from './output.ts';
import { type Credentials, signedHeaders } from './sign.ts';
import { at, parseXml, textAt, type XmlElement } from './xmlTree.ts';

const apiVersion = '2016-11-15';
const timeoutMs = 60_000;
const unavailableMsMax = 30_000;
const retryEveryMs = 500;
const sayAfterMs = 2_000;

/** What the API answered instead of a result. */
export class Ec2Error extends Error {
  readonly code: string;
  readonly status: number;
  readonly requestId: string;
  /** The API's own words. */
  readonly reason: string;
  constructor(action: string, status: number, code: string, message: string, requestId: string) {
    super(`${action}: ${code}: ${message} (request ${requestId})`);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.reason = message;
  }
}

export interface CallPatience {
  /** How long an answer is waited for. */
  readonly timeoutMs: number;
  /** How long an answer that a part is away for the moment (503) is waited out. */
  readonly unavailableMs: number;
}
const patient: CallPatience = { timeoutMs, unavailableMs: unavailableMsMax };

export interface Ec2ClientOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: Credentials;
}

export class Ec2Client {
  readonly #options: Ec2ClientOptions;

  constructor(options: Ec2ClientOptions) {
    this.#options = options;
  }

  /**
   * Calls an action with flat parameters (`Filter.1.Name` …). Throws `Ec2Error` with EC2's code, a `UserError` when nobody
   * answers at the endpoint.
   */
  async call(
    action: string,
    params: Readonly<Record<string, string>> = {},
    patience: CallPatience = patient,
  ): Promise<XmlElement> {
    const begun = monotonicMs();
    const until = begun + patience.unavailableMs;
    let told = false;
    for (;;) {
      try {
        return await this.#once(action, params, patience.timeoutMs);
      } catch (error) {
        const away = error instanceof Ec2Error && error.status === 503;
        if (!away || monotonicMs() >= until) throw error;
        if (!told && monotonicMs() - begun > sayAfterMs) {
          progress(`${error.reason} Waiting for it, up to ${patience.unavailableMs / 1000} s …`);
          told = true;
        }
      }
      await delay(retryEveryMs);
    }
  }

  async #once(
    action: string,
    params: Readonly<Record<string, string>>,
    timeoutMs: number,
  ): Promise<XmlElement> {
    const { endpoint, region, credentials } = this.#options;
    const body = new URLSearchParams({ Action: action, Version: apiVersion, ...params }).toString();
    const host = new URL(endpoint).host;
    const headers = signedHeaders(credentials, { host, region, service: 'ec2' }, body, new Date());
    const response = await fetch(endpoint, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((cause: unknown) => {
      throw new UserError(
        `The API at ${endpoint} does not answer ${action}. pando status shows what is away; pando up brings it back.`,
        { cause },
      );
    });
    const document = parseXml(await response.text());
    if (response.ok) return document;
    const error = at(document, 'Errors', 'Error') ?? document;
    throw new Ec2Error(
      action,
      response.status,
      textAt(error, 'Code') || String(response.status),
      textAt(error, 'Message'),
      textAt(document, 'RequestID'),
    );
  }
}
