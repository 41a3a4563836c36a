/** A management controller that answers the calls of Redfish which a power cycle takes, and remembers them. Tests spoil parts of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';

export interface Reset {
  readonly type: string;
  /** How who asked proved itself. */
  readonly by: 'session' | 'basic';
}

interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

const extended = (message: string): unknown => ({
  error: {
    code: 'Base.1.0.GeneralError',
    message: 'See the extended info.',
    '@Message.ExtendedInfo': [{ Message: message }],
  },
});

export class RedfishSimulator {
  readonly username = 'pando';
  password = 'of-this-test';
  readonly resets: Reset[] = [];
  readonly sessions = new Map<string, string>();
  powerState = 'On';
  allowed: readonly string[] | undefined = [
    'On',
    'ForceOff',
    'ForceRestart',
    'GracefulRestart',
    'PowerCycle',
  ];
  /** The allowed resets are told by an ActionInfo of their own. */
  byActionInfo = false;
  /** How often a reset's task is asked for before it has ended; 0: a reset ends at once. */
  taskLooks = 0;
  taskEnd: 'Completed' | 'Exception' | 'monitor' = 'Completed';
  /** Answered to the next requests instead. */
  readonly instead: Reply[] = [];
  systems = ['/redfish/v1/Systems/1'];
  /** Called when the machine begins anew. */
  onCycle: () => void = () => undefined;
  readonly #dir: string;
  readonly #server: Server;
  #looks = 0;
  #number = 0;

  private constructor(dir: string, key: string, cert: string) {
    this.#dir = dir;
    this.#server = createServer({ key, cert }, (asked, answer) => void this.#serve(asked, answer));
  }

  static async start(): Promise<RedfishSimulator> {
    const dir = await mkdtemp(join(tmpdir(), 'pando-redfish-'));
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    await exec('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', '/CN=controller', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ]);
    const simulator = new RedfishSimulator(dir, await readFile(key, 'utf8'), await readFile(cert, 'utf8'));
    await new Promise<void>((resolve) => simulator.#server.listen(0, '127.0.0.1', resolve));
    return simulator;
  }

  get url(): string {
    const address = this.#server.address();
    return `https://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  }

  get caFile(): string {
    return join(this.#dir, 'cert.pem');
  }

  path(name: string): string {
    return join(this.#dir, name);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #serve(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of asked) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body: unknown = text === '' ? {} : JSON.parse(text);
    const {
      status,
      body: told,
      headers,
    } = this.instead.shift() ?? this.#answer(asked, body as Record<string, unknown>);
    answer.writeHead(status, { 'content-type': 'application/json', ...headers });
    answer.end(told === undefined ? '' : JSON.stringify(told));
  }

  #whoAsks({ headers }: IncomingMessage): Reset['by'] | undefined {
    const token = headers['x-auth-token'];
    if (typeof token === 'string' && [...this.sessions.values()].includes(token)) return 'session';
    const basic = `Basic ${Buffer.from(`${this.username}:${this.password}`).toString('base64')}`;
    return headers.authorization === basic ? 'basic' : undefined;
  }

  #answer(asked: IncomingMessage, body: Record<string, unknown>): Reply {
    const { method, url = '' } = asked;
    if (method === 'POST' && url === '/redfish/v1/SessionService/Sessions') return this.#login(body);
    const by = this.#whoAsks(asked);
    if (by === undefined)
      return { status: 401, body: extended('While accessing the resource, no valid login was found.') };
    if (method === 'DELETE' && this.sessions.delete(url)) return { status: 204 };
    if (method === 'GET' && url === '/redfish/v1/Systems')
      return { status: 200, body: { Members: this.systems.map((id) => ({ '@odata.id': id })) } };
    if (method === 'GET' && this.systems.includes(url)) return { status: 200, body: this.#system(url) };
    if (method === 'GET' && url.endsWith('/ResetActionInfo'))
      return { status: 200, body: { Parameters: [{ Name: 'ResetType', AllowableValues: this.allowed }] } };
    if (method === 'POST' && url.endsWith('/Actions/ComputerSystem.Reset'))
      return this.#reset(String(body.ResetType), by);
    if (method === 'GET' && url === '/redfish/v1/TaskService/TaskMonitors/7') return this.#task();
    return { status: 404, body: extended(`The resource at ${url} was not found.`) };
  }

  #login({ UserName, Password }: Record<string, unknown>): Reply {
    if (UserName !== this.username || Password !== this.password)
      return { status: 401, body: extended('The user name or the password is not right.') };
    this.#number += 1;
    const [path, token] = [`/redfish/v1/SessionService/Sessions/${this.#number}`, `token-${this.#number}`];
    this.sessions.set(path, token);
    return { status: 201, body: {}, headers: { location: `${this.url}${path}`, 'x-auth-token': token } };
  }

  #system(id: string): unknown {
    const info = { '@Redfish.ActionInfo': `${id}/ResetActionInfo` };
    const listed = this.byActionInfo ? info : { 'ResetType@Redfish.AllowableValues': this.allowed };
    const reset = { target: `${id}/Actions/ComputerSystem.Reset`, ...listed };
    return { PowerState: this.powerState, Actions: { '#ComputerSystem.Reset': reset } };
  }

  #reset(type: string, by: Reset['by']): Reply {
    if (this.allowed !== undefined && !this.allowed.includes(type))
      return {
        status: 400,
        body: extended(`The value ${type} for the parameter ResetType is not in the list.`),
      };
    this.resets.push({ type, by });
    if (type === 'ForceOff') this.powerState = 'Off';
    else {
      this.powerState = 'On';
      this.onCycle();
    }
    if (this.taskLooks === 0) return { status: 204 };
    this.#looks = 0;
    return {
      status: 202,
      body: {},
      headers: { location: '/redfish/v1/TaskService/TaskMonitors/7', 'retry-after': '0' },
    };
  }

  #task(): Reply {
    this.#looks += 1;
    if (this.#looks < this.taskLooks)
      return this.taskEnd === 'monitor' ? { status: 202 } : { status: 200, body: { TaskState: 'Running' } };
    if (this.taskEnd === 'monitor') return { status: 204 };
    const Messages = this.taskEnd === 'Exception' ? [{ Message: 'The power supply did not answer.' }] : [];
    return { status: 200, body: { TaskState: this.taskEnd, Messages } };
  }
}
