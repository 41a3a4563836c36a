/** A router with a region and cells behind it, all in this process, and a client that signs. */
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import aws4 from 'aws4';
import { pino } from 'pino';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { routerConfig } from '#router/config.ts';
import { type Router, startRouter } from '#router/router.ts';
import { FakeCell } from './fakeCell.ts';
import { FakeRegion, keys } from './fakeRegion.ts';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface SendOptions {
  readonly key?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly service?: string;
  readonly region?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
  /** Changes what was signed before it is sent. */
  readonly tamper?: (signed: Signed) => Signed;
}

export interface Signed {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export interface Cloud {
  readonly router: Router;
  readonly region: FakeRegion;
  readonly cells: readonly FakeCell[];
  /** One object a line of the router's log. */
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** The whole log as text. */
  logText(): string;
  /** Signs and sends a form. */
  send(form: string, options?: SendOptions): Promise<Reply>;
  /** Sends an action with plain parameters. */
  act(action: string, parameters?: Readonly<Record<string, string>>, options?: SendOptions): Promise<Reply>;
  raw(signed: Signed, agent?: Agent): Promise<Reply>;
  /** Another replica beside `router`, with limits of its own where they are given; the cloud closes it. */
  addReplica(limits?: CloudOptions['limits']): Promise<Replica>;
  /** A router that follows `router` on its port. */
  addSuccessor(): Promise<Router>;
  /** Waits until the router's health says so. */
  until(condition: (health: Health) => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface Replica {
  readonly send: Cloud['send'];
  readonly until: Cloud['until'];
}

export interface Health {
  readonly ready: boolean;
  readonly region: boolean;
  readonly cells: readonly { readonly cellId: string; readonly live: boolean }[];
}

export interface CloudOptions {
  /** Zone of each cell; numbers begin at 1. */
  readonly zones?: readonly string[];
  readonly processors?: number;
  readonly limits?: Readonly<Record<string, number>>;
  readonly now?: () => number;
  /** Path of an audit log. */
  readonly audit?: string;
}

const waitMsMax = 60_000;
/** So long that no cell of a busy machine looks frozen. */
const patient = { callTimeoutMs: 20_000, healthTimeoutMs: 60_000 };

export const startCloud = async (options: CloudOptions = {}): Promise<Cloud> => {
  const authority = await createAuthority('Test authority');
  const region = new FakeRegion(authority);
  const cells = (options.zones ?? ['lab-1a', 'lab-1a', 'lab-1a']).map(
    (zone, i) => new FakeCell(authority, i + 1, zone),
  );
  region.cells = () => cells.map(({ record }) => record);
  await Promise.all([region.start(), ...cells.map((cell) => cell.start(options.processors))]);
  const lines: string[] = [];
  const routers: Router[] = [];
  const addRouter = async (more: CloudOptions['limits'] = {}, follows?: Router) => {
    const router = await startRouter({
      takesOver: follows !== undefined,
      config: routerConfig.omit({ tls: true }).parse({
        regionName: 'lab-1',
        listen: { port: follows?.port ?? 0 },
        region: { host: '127.0.0.1', port: region.port },
        ...(options.audit === undefined ? {} : { audit: { path: options.audit } }),
        limits: { ...patient, cellsEveryMs: 100, repeatsWithinMs: 0, ...options.limits, ...more },
      }),
      tls: await issueCertificate(authority, `spiffe://pando/router/r-${routers.length + 1}`),
      log: pino({ base: null }, { write: (line: string) => lines.push(line) }),
      now: options.now,
    });
    routers.push(router);
    return router;
  };
  const router = await addRouter();
  const raw = (signed: Signed, agent?: Agent) => sendRaw(router.port, signed, agent);
  const { send, until } = replicaOf(router);
  const close = async () => {
    await Promise.all(routers.map((each) => each.close()));
    await Promise.all([region.kill(), ...cells.map((cell) => cell.kill())]);
  };
  try {
    await until((health) => health.ready && health.cells.every(({ live }) => live));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    router,
    region,
    cells,
    raw,
    send,
    until,
    act: (action, parameters = {}, given = {}) => {
      const Version = given.service === 'sts' ? '2011-06-15' : '2016-11-15';
      return send(new URLSearchParams({ Action: action, Version, ...parameters }).toString(), given);
    },
    get log() {
      return lines.map((line): Record<string, unknown> => JSON.parse(line));
    },
    logText: () => lines.join(''),
    addSuccessor: () => addRouter({}, router),
    addReplica: async (limits) => replicaOf(await addRouter(limits)),
    close,
  };
};

const replicaOf = ({ port }: Router): Replica => ({
  until: (condition) => waitFor((signed) => sendRaw(port, signed), condition),
  send: (form, given = {}) => {
    const signed = sign(port, form, given);
    return sendRaw(port, given.tamper?.(signed) ?? signed, given.agent);
  },
});

/** Signs a form as a client would. */
export const sign = (port: number, form: string, options: SendOptions = {}): Signed => {
  const { key = keys.first, method = 'POST', service = 'ec2', region = 'lab-1' } = options;
  const isGet = method === 'GET';
  const unsigned = {
    method,
    path: isGet ? `/?${form}` : '/',
    host: `127.0.0.1:${port}`,
    service,
    region,
    body: isGet ? '' : form,
    headers: { ...(!isGet && { 'Content-Type': 'application/x-www-form-urlencoded' }), ...options.headers },
  };
  const { headers } = aws4.sign(unsigned, key);
  return { method, path: unsigned.path, headers: { ...headers }, body: unsigned.body };
};

export const sendRaw = (
  port: number,
  { method, path, headers, body }: Signed,
  agent?: Agent,
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: agent ?? false });
    request.once('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.end(body);
  });

const waitFor = async (raw: Cloud['raw'], condition: (health: Health) => boolean): Promise<void> => {
  const endMs = Date.now() + waitMsMax;
  for (;;) {
    const { body } = await raw({ method: 'GET', path: '/_pando/health', headers: {}, body: '' });
    if (condition(JSON.parse(body))) return;
    if (Date.now() > endMs) throw new Error(`not in ${waitMsMax} ms: ${body}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

/** The code of an error document. */
export const codeOf = ({ body }: Reply): string | undefined => /<Code>([^<]*)<\/Code>/.exec(body)?.[1];

/** Everything between tags of that name. */
export const textsOf = ({ body }: Reply, tag: string): readonly string[] =>
  [...body.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map(([, text]) => text ?? '');

/** The message of an answer, as a client reads it: without the escapes of XML. */
export const messageOf = ({ body }: Reply): string | undefined =>
  /<Message>([^<]*)<\/Message>/
    .exec(body)?.[1]
    ?.replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
