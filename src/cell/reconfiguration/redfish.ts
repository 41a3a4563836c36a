/**
 * Machines turned off and on through their management controllers (DMTF Redfish, DSP0266): TLS against a stated authority, a session or
 * basic authentication, the reset that the machine allows, its task followed to its end.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { PowerControl } from './power.ts';
import { type Answer, RedfishHttp } from './redfish-http.ts';

export const redfishMachine = z.object({
  /** Of the controller: `https://` and where it answers. */
  url: z.url({ protocol: /^https$/ }),
  /** Path of the machine; absent: the only one that the controller has. */
  system: z.string().startsWith('/redfish/').max(256).optional(),
  username: z.string().min(1).max(128),
  /** Read with each use, so that a new password needs no restart. */
  passwordFile: z.string(),
  /** PEM of the authority, or of the controller's own certificate. */
  caFile: z.string(),
  authentication: z.enum(['session', 'basic']).default('session'),
});
export type RedfishMachine = z.infer<typeof redfishMachine>;

/** By the id of the host. */
export const redfishMachines = z.record(z.string().max(64), redfishMachine);

/** From the order until the controller says that it was carried out, and how often it is asked. */
const taskMsMax = 5 * 60_000;
const taskPollMsMin = 200;
const taskPollMsMax = 10_000;
/** Best first: a host that is rebuilt has nothing that wants to be shut down gently. */
const resetsByPreference = ['PowerCycle', 'ForceRestart', 'GracefulRestart'] as const;

const resetAction = z.object({
  target: z.string().startsWith('/'),
  'ResetType@Redfish.AllowableValues': z.array(z.string()).optional(),
  '@Redfish.ActionInfo': z.string().startsWith('/').optional(),
});
const system = z.object({
  PowerState: z.string().optional(),
  Actions: z.object({ '#ComputerSystem.Reset': resetAction }),
});
const actionInfo = z.object({
  Parameters: z.array(z.object({ Name: z.string(), AllowableValues: z.array(z.string()).optional() })),
});
const collection = z.object({ Members: z.array(z.object({ '@odata.id': z.string().startsWith('/') })) });
const task = z.object({
  TaskState: z.string().optional(),
  Messages: z.array(z.object({ Message: z.string().optional() })).optional(),
});
const failedTasks: ReadonlySet<string> = new Set(['Exception', 'Killed', 'Cancelled', 'Interrupted']);

const sessions = '/redfish/v1/SessionService/Sessions';

const parsed = <T extends z.ZodType>(shape: T, { body }: Answer, what: string): z.output<T> => {
  const found = shape.safeParse(body);
  if (found.success) return found.data;
  throw new PandoError(
    'InternalError',
    `The controller's ${what} is not as Redfish has it: ${found.error.issues[0]?.message}`,
  );
};

/** One conversation with a controller. */
class Conversation {
  readonly #http: RedfishHttp;
  readonly #machine: RedfishMachine;
  readonly #signal: AbortSignal | undefined;

  constructor(http: RedfishHttp, machine: RedfishMachine, signal: AbortSignal | undefined) {
    this.#http = http;
    this.#machine = machine;
    this.#signal = signal;
  }

  async cycle(): Promise<void> {
    const path = this.#machine.system ?? (await this.#onlySystem());
    const found = parsed(system, await this.#http.get(path), 'system');
    const action = found.Actions['#ComputerSystem.Reset'];
    const allowed = await this.#allowed(action);
    if (found.PowerState === 'Off') return this.#reset(action.target, 'On');
    const best = resetsByPreference.find((each) => allowed.includes(each));
    if (best !== undefined) return this.#reset(action.target, best);
    if (!allowed.includes('ForceOff') || !allowed.includes('On'))
      throw new PandoError(
        'InternalError',
        `The controller allows no reset that we know: ${allowed.join(', ')}.`,
      );
    await this.#reset(action.target, 'ForceOff');
    await this.#until('it is off', async () => {
      const now = parsed(system, await this.#http.get(path), 'system');
      return now.PowerState === 'Off';
    });
    return this.#reset(action.target, 'On');
  }

  async #onlySystem(): Promise<string> {
    const { Members } = parsed(collection, await this.#http.get('/redfish/v1/Systems'), 'list of systems');
    const [only, ...more] = Members;
    if (only === undefined || more.length > 0)
      throw new PandoError(
        'InternalError',
        `The controller has ${Members.length} systems: name the host's as \`system\`.`,
      );
    return only['@odata.id'];
  }

  async #allowed(action: z.output<typeof resetAction>): Promise<readonly string[]> {
    const listed = action['ResetType@Redfish.AllowableValues'];
    const info = action['@Redfish.ActionInfo'];
    // A controller that lists none says so only when it is asked for one.
    if (listed !== undefined || info === undefined) return listed ?? resetsByPreference;
    const { Parameters } = parsed(actionInfo, await this.#http.get(info), 'list of resets');
    return Parameters.find(({ Name }) => Name === 'ResetType')?.AllowableValues ?? resetsByPreference;
  }

  async #reset(target: string, ResetType: string): Promise<void> {
    const answer = await this.#http.post(target, { ResetType });
    if (answer.status !== 202) return;
    const monitor = answer.location;
    if (monitor === undefined) return;
    await this.#until(`its ${ResetType} is carried out`, () => this.#isDone(monitor), answer.retryAfterMs);
  }

  /** A monitor answers 202 while its task goes on; a controller may name the task itself instead. */
  async #isDone(monitor: string): Promise<boolean> {
    const answer = await this.#http.get(monitor);
    if (answer.status === 202) return false;
    const { TaskState, Messages } = task.safeParse(answer.body).data ?? {};
    if (TaskState === undefined) return true;
    if (failedTasks.has(TaskState))
      throw new PandoError(
        'InternalError',
        `The controller gave the reset up (${TaskState}): ${Messages?.map(({ Message }) => Message).join(' ') ?? ''}`,
      );
    return TaskState === 'Completed';
  }

  async #until(what: string, probe: () => Promise<boolean>, everyMs = taskPollMsMin): Promise<void> {
    const end = monotonicMs() + taskMsMax;
    let pauseMs = Math.min(taskPollMsMax, Math.max(taskPollMsMin, everyMs));
    while (!(await probe())) {
      if (monotonicMs() > end)
        throw new PandoError('HostUnreachable', `The controller does not say that ${what}.`);
      await sleep(pauseMs, undefined, { signal: this.#signal });
      pauseMs = Math.min(taskPollMsMax, pauseMs * 2);
    }
  }
}

export class RedfishPower implements PowerControl {
  readonly #machines: ReadonlyMap<string, RedfishMachine>;

  constructor(machines: Readonly<Record<string, RedfishMachine>>) {
    this.#machines = new Map(Object.entries(machines));
  }

  has(hostId: string): boolean {
    return this.#machines.has(hostId);
  }

  async cycle(hostId: string, signal?: AbortSignal): Promise<void> {
    const machine = this.#machines.get(hostId);
    if (machine === undefined) throw new PandoError('InternalError', `No controller is named for ${hostId}.`);
    const password = (await readFile(machine.passwordFile, 'utf8')).trimEnd();
    const http = new RedfishHttp({ url: machine.url, ca: await readFile(machine.caFile, 'utf8'), signal });
    const { username } = machine;
    if (machine.authentication === 'basic') {
      http.authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
      return new Conversation(http, machine, signal).cycle();
    }
    const session = await http.post(sessions, { UserName: username, Password: password });
    if (session.token === undefined)
      throw new PandoError('InternalError', `The controller of ${hostId} gave no token for its session.`);
    http.token = session.token;
    try {
      return await new Conversation(http, machine, signal).cycle();
    } finally {
      // Controllers have room for a handful of sessions.
      if (session.location !== undefined) await http.delete(session.location).catch(() => undefined);
    }
  }
}
