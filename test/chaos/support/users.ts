/** Users of a region in a storm: each asks for something, asks again until it is answered, and remembers what it was promised. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type _InstanceType,
  DescribeInstancesCommand,
  EC2Client,
  RebootInstancesCommand,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2';
import { monotonicMs } from '#base/monotonic.ts';
import type { Random } from './random.ts';

/** One client token and what was promised for it. */
export interface Promised {
  readonly token: string;
  /** All that any answer to this token named: exactly one. */
  readonly ids: Set<string>;
  wish: 'running' | 'stopped' | 'terminated';
}

/** What all users of a storm were promised, and what they saw. */
export class Ledger {
  readonly promised: Promised[] = [];
  /** Acknowledged requests by action. */
  readonly acknowledged = new Map<string, number>();
  /** Failed tries by EC2's code. */
  readonly refused = new Map<string, number>();
  /** What no user should have been told. */
  readonly complaints: string[] = [];
  longestRetryMs = 0;

  count(map: Map<string, number>, key: string): void {
    map.set(key, (map.get(key) ?? 0) + 1);
  }
}

/** A request of any user that must not be refused for good: its own state is in the way, or something is away for a while. */
const passing = new Set([
  'Unavailable',
  'RequestLimitExceeded',
  'IncorrectInstanceState',
  'InsufficientInstanceCapacity',
]);
const connectionLost = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'TimeoutError']);
/** A type of the catalogue that AWS's own does not know. */
export const smallest = 'p1.nano' as _InstanceType;
const pauseMs = 250;
const insistMsMax = 120_000;
const waitMsMax = 60_000;
const instancesMaxDefault = 4;
const pollMs = 400;

export interface UserOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly key: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly imageId: string;
  readonly random: Random;
  readonly ledger: Ledger;
  /** How many instances a user has at once, at most. */
  readonly instancesMax?: number;
  /** Asks an operator to move an instance; whether it is moved is not the user's business. */
  migrate(instanceId: string): Promise<void>;
}

export class User {
  readonly #options: UserOptions;
  readonly #ec2: EC2Client;
  readonly #mine: Promised[] = [];

  constructor(options: UserOptions) {
    this.#options = options;
    this.#ec2 = new EC2Client({
      endpoint: options.endpoint,
      region: options.region,
      credentials: options.key,
      maxAttempts: 1,
      requestHandler: { requestTimeout: 25_000, connectionTimeout: 2_000 },
    });
  }

  /** Acts until `over`; what it has begun to ask for then it still asks to the end. */
  async live(over: AbortSignal): Promise<void> {
    try {
      while (!over.aborted) await this.#act();
    } finally {
      this.#ec2.destroy();
    }
  }

  async #act(): Promise<void> {
    const { random, migrate } = this.#options;
    const [first, ...rest] = this.#mine;
    if (
      first === undefined ||
      (this.#mine.length < (this.#options.instancesMax ?? instancesMaxDefault) && random.chance(0.35))
    )
      return this.#launch();
    const one = random.pick([first, ...rest]);
    const [id = ''] = one.ids;
    switch (random.pick(['stop', 'start', 'migrate', 'terminate', 'reboot', 'migrate'])) {
      case 'stop':
        await this.#insist('StopInstances', () =>
          this.#ec2.send(new StopInstancesCommand({ InstanceIds: [id] })),
        );
        one.wish = 'stopped';
        return this.#maybeWait(one);
      case 'start':
        await this.#insist('StartInstances', () =>
          this.#ec2.send(new StartInstancesCommand({ InstanceIds: [id] })),
        );
        one.wish = 'running';
        return this.#maybeWait(one);
      case 'terminate':
        await this.#insist('TerminateInstances', () =>
          this.#ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] })),
        );
        one.wish = 'terminated';
        this.#mine.splice(this.#mine.indexOf(one), 1);
        return;
      case 'reboot':
        if (one.wish !== 'running') return;
        await this.#maybeWait(one, 1);
        await this.#insist('RebootInstances', () =>
          this.#ec2.send(new RebootInstancesCommand({ InstanceIds: [id] })),
        );
        return;
      case 'migrate':
        if (one.wish !== 'running') return;
        await migrate(id);
        return this.#maybeWait(one);
    }
  }

  async #launch(): Promise<void> {
    const { imageId, ledger, random } = this.#options;
    const one: Promised = { token: randomUUID(), ids: new Set(), wish: 'running' };
    // Written down before it is asked for: a request without an answer counts too.
    ledger.promised.push(one);
    const ask = async (): Promise<void> => {
      const answer = await this.#ec2.send(
        new RunInstancesCommand({
          ImageId: imageId,
          InstanceType: smallest,
          MinCount: 1,
          MaxCount: 1,
          ClientToken: one.token,
        }),
      );
      for (const { InstanceId: id = '' } of answer.Instances ?? []) one.ids.add(id);
    };
    await this.#insist('RunInstances', ask);
    // Some ask again though they were answered, as a client does whose answer was lost on its way.
    if (random.chance(0.2)) await this.#insist('RunInstances again', ask);
    this.#mine.push(one);
    await this.#maybeWait(one);
  }

  /** Asks until it is answered. */
  async #insist(action: string, ask: () => Promise<unknown>): Promise<void> {
    const { ledger } = this.#options;
    const begun = monotonicMs();
    for (;;) {
      try {
        await ask();
        ledger.count(ledger.acknowledged, action);
        ledger.longestRetryMs = Math.max(ledger.longestRetryMs, monotonicMs() - begun);
        return;
      } catch (error) {
        const code = codeOf(error);
        ledger.count(ledger.refused, code);
        if (!passing.has(code) && !connectionLost.has(code))
          ledger.complaints.push(`${action}: ${code}: ${error instanceof Error ? error.message : ''}`);
        if (monotonicMs() - begun > insistMsMax)
          throw new Error(`${action} not within ${insistMsMax} ms: ${code}`);
        await delay(pauseMs);
      }
    }
  }

  /** Most users wait until they have what they asked for, for a while; the others go on at once. */
  async #maybeWait(one: Promised, share = 0.7): Promise<void> {
    if (!this.#options.random.chance(share)) return;
    const end = monotonicMs() + waitMsMax;
    while (monotonicMs() < end && (await this.#state(one)) !== one.wish) await delay(pollMs);
  }

  async #state(one: Promised): Promise<string | undefined> {
    const [id = ''] = one.ids;
    const described = this.#ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }));
    const answer = await described.catch((error: unknown) => {
      const code = codeOf(error);
      if (!passing.has(code) && !connectionLost.has(code))
        this.#options.ledger.complaints.push(`DescribeInstances ${id}: ${code}`);
      return undefined;
    });
    return answer?.Reservations?.[0]?.Instances?.[0]?.State?.Name;
  }
}

const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  if ('code' in error && typeof error.code === 'string') return error.code;
  return /socket hang up|aborted|closed/.test(error.message) ? 'ECONNRESET' : error.name;
};
