/** The command line's own client of the EC2 API: signs, sends, reads the answer. */
import { type Credentials, signedHeaders } from './sign.ts';
import { at, parseXml, textAt, type XmlElement } from './xmlTree.ts';

const apiVersion = '2016-11-15';
const timeoutMs = 60_000;

/** What the API answered instead of a result. */
export class Ec2Error extends Error {
  readonly code: string;
  readonly requestId: string;
  constructor(action: string, code: string, message: string, requestId: string) {
    super(`${action}: ${code}: ${message} (request ${requestId})`);
    this.code = code;
    this.requestId = requestId;
  }
}

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

  /** Calls an action with flat parameters (`Filter.1.Name` …). Throws `Ec2Error` with EC2's code. */
  async call(action: string, params: Readonly<Record<string, string>> = {}): Promise<XmlElement> {
    const { endpoint, region, credentials } = this.#options;
    const body = new URLSearchParams({ Action: action, Version: apiVersion, ...params }).toString();
    const host = new URL(endpoint).host;
    const headers = signedHeaders(credentials, { host, region, service: 'ec2' }, body, new Date());
    const response = await fetch(endpoint, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(timeoutMs),
    });
    const document = parseXml(await response.text());
    if (response.ok) return document;
    const error = at(document, 'Errors', 'Error') ?? document;
    throw new Ec2Error(
      action,
      textAt(error, 'Code') || String(response.status),
      textAt(error, 'Message'),
      textAt(document, 'RequestID'),
    );
  }
}
