/** What accounts do, and what each remembers of what it was told: the other half of I4. */

import type { NewAccount } from '#region/accounts.ts';
import { Client, type Outcome, pause } from './client.ts';
import type { Cloud } from './cloud.ts';
import { Operator } from './operator.ts';
import type { Random } from './random.ts';
import { randomOf } from './random.ts';

export type Final = 'running' | 'stopped' | 'terminated';

/** An instance that a client was told of. */
export interface Owned {
  readonly id: string;
  readonly token: string;
  /** The states that it may have in the end, by what was answered. */
  readonly may: Set<Final>;
}

export interface WorkloadOptions {
  readonly cloud: Cloud;
  readonly accounts: readonly NewAccount[];
  readonly imageId: string;
  readonly clients: number;
  readonly untilMs: number;
  /** Told of what must not be. */
  broken(what: string): void;
  /** Whether the store of an instance's cell has forgotten something: what was answered then may not be known any more. */
  isForgetful(instanceId: string): boolean;
}

/** Of a host of 2 GiB, which is soon full: two processors that decide alike are then seen. */
const types = ['p1.nano', 't3.small', 'custom.500m.700', 'custom.250m.900'];
const instancesPerClientMax = 8;
const thinkMsMax = 800;
/** Of launches, how many are asked for twice at once. */
const doubledPart = 0.2;
/** Of a request for capacity: no longer than the run takes to come to rest. */
const offerSeconds = 10;
const validSeconds = 30;

const idsIn = (body: string): string[] =>
  [...body.matchAll(/<instanceId>(i-[0-9a-f]+)<\/instanceId>/g)].map(([, id = '']) => id);

export class Workload {
  readonly #options: WorkloadOptions;
  /** All that were ever acknowledged. */
  readonly owned: Owned[] = [];
  readonly counts = new Map<string, number>();
  readonly #done: Promise<void>[] = [];
  ended = false;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  start(): void {
    const { cloud, clients } = this.#options;
    for (let number = 1; number <= clients; number++) {
      const process = cloud.world.process(`client-${number}`);
      cloud.world.as(process, () => {
        this.#done.push(this.#client(number));
      });
    }
    void Promise.all(this.#done).then(
      () => {
        this.ended = true;
      },
      (error: unknown) => cloud.world.failed(cloud.world.outside, error),
    );
  }

  async #client(number: number): Promise<void> {
    const { cloud, accounts, untilMs } = this.#options;
    const { world, network, shape } = cloud.parts;
    const random = randomOf(world.seed, `client-${number}`);
    const account = accounts[number % accounts.length];
    if (account === undefined) throw new RangeError('there are no accounts');
    const client = new Client({ network, account, random, routers: shape.routers });
    const actor = new Actor({ ...this.#options, client, random, name: `client-${number}`, workload: this });
    while (world.nowMs < untilMs) {
      await pause(random.between(1, thinkMsMax));
      await actor.act();
    }
    actor.close();
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

interface ActorOptions extends WorkloadOptions {
  readonly client: Client;
  readonly random: Random;
  readonly name: string;
  readonly workload: Workload;
}

class Actor {
  readonly #options: ActorOptions;
  readonly #own: Owned[] = [];
  readonly #launches: {
    readonly token: string;
    readonly parameters: Record<string, string>;
    readonly ids: readonly string[];
  }[] = [];
  readonly #operator: Operator;
  #tokens = 0;

  constructor(options: ActorOptions) {
    this.#options = options;
    this.#operator = new Operator(options.cloud);
  }

  close(): void {
    this.#operator.close();
  }

  async act(): Promise<void> {
    const { random, workload, cloud } = this.#options;
    const living = this.#own.filter(({ may }) => !(may.size === 1 && may.has('terminated')));
    const choice = living.length === 0 ? 'launch' : this.#choose(living.length);
    const began = cloud.world.nowMs;
    const outcome = await this.#do(choice, living.length === 0 ? undefined : random.pick(living));
    workload.count(`${choice} ${outcome}`);
    cloud.world.tell(
      `${this.#options.name} ${choice} ${outcome} after ${(cloud.world.nowMs - began).toFixed(0)} ms`,
    );
  }

  #choose(living: number): string {
    const { random } = this.#options;
    const roll = random.next();
    if (roll < 0.3) return living < instancesPerClientMax ? 'launch' : 'terminate';
    if (roll < 0.4) return 'repeat';
    if (roll < 0.55) return 'describe';
    if (roll < 0.6) return 'request';
    if (roll < 0.7) return 'stop';
    if (roll < 0.8) return 'start';
    if (roll < 0.83) return 'reboot';
    if (roll < 0.86) return 'hurry';
    return roll < 0.92 ? 'migrate' : 'terminate';
  }

  async #do(choice: string, one: Owned | undefined): Promise<string> {
    if (choice === 'launch' || one === undefined) return this.#launch();
    switch (choice) {
      case 'repeat':
        return this.#repeat();
      case 'request':
        return this.#request();
      case 'describe':
        return this.#describe(one);
      case 'migrate':
        return this.#operator.migrate(one.id);
      case 'reboot':
        return this.#change(one, 'RebootInstances');
      case 'hurry':
        return this.#hurry(one);
      case 'stop':
        return this.#change(one, 'StopInstances', 'stopped');
      case 'start':
        return this.#change(one, 'StartInstances', 'running');
      default:
        return this.#change(one, 'TerminateInstances', 'terminated');
    }
  }

  /** What is offered is not claimed: it is held until its time is over (I9). */
  async #request(): Promise<string> {
    const { client, random, name } = this.#options;
    const clientToken = `${name}-${++this.#tokens}`;
    const [instanceType, count] = [random.pick(types), random.between(1, 4)];
    return told(await client.request({ clientToken, instanceType, count, offerSeconds, validSeconds }));
  }

  async #launch(): Promise<string> {
    const { client, random, imageId, name, broken, isForgetful } = this.#options;
    const token = `${name}-${++this.#tokens}`;
    const count = String(random.between(1, 3));
    const parameters = {
      ImageId: imageId,
      InstanceType: random.pick(types),
      MinCount: '1',
      MaxCount: count,
      ClientToken: token,
    };
    // Some ask twice at once, and take what they are answered first.
    const asked = random.chance(doubledPart) ? 2 : 1;
    const outcomes = await Promise.all(
      Array.from({ length: asked }, () => client.call('RunInstances', parameters)),
    );
    const done = outcomes.filter(({ kind }) => kind === 'done').map(({ body }) => idsIn(body));
    const [ids, other] = done;
    if (ids !== undefined) {
      this.#launches.push({ token, parameters, ids });
      this.#remember(token, [...new Set(done.flat())]);
    }
    if (ids !== undefined && other !== undefined && other.join() !== ids.join() && !ids.some(isForgetful))
      broken(`I4: ${token} was answered with ${ids.join()} and at once with ${other.join()}`);
    return outcomes.map(told).join(' and ');
  }

  /** Two wishes at once, which cross on their way: a reboot that comes after the stop is of a life that is over. */
  async #hurry(one: Owned): Promise<string> {
    const [rebooted, stopped] = await Promise.all([
      this.#change(one, 'RebootInstances'),
      this.#change(one, 'StopInstances', 'stopped'),
    ]);
    return `${rebooted} and ${stopped}`;
  }

  #remember(token: string, ids: readonly string[]): void {
    for (const id of ids) {
      // A launch that fails later ends as terminated.
      const owned: Owned = { id, token, may: new Set<Final>(['running', 'terminated']) };
      this.#own.push(owned);
      this.#options.workload.owned.push(owned);
    }
  }

  /** A client that asks again with the same token is told of the same instances (I4). */
  async #repeat(): Promise<string> {
    const { client, random, broken, isForgetful } = this.#options;
    if (this.#launches.length === 0) return 'nothing';
    const { token, parameters, ids } = random.pick(this.#launches);
    const outcome = await client.call('RunInstances', parameters);
    if (outcome.kind !== 'done') return told(outcome);
    const again = idsIn(outcome.body);
    if (ids.some(isForgetful)) {
      const fresh = again.filter((id) => !ids.includes(id));
      this.#remember(token, fresh);
    } else if (again.join() !== ids.join())
      broken(`I4: ${token} was answered with ${ids.join()} and then with ${again.join()}`);
    return told(outcome);
  }

  async #describe({ id }: Owned): Promise<string> {
    const { client, broken, isForgetful } = this.#options;
    const outcome = await client.call('DescribeInstances', { 'InstanceId.1': id });
    if (outcome.code === 'InvalidInstanceID.NotFound' && !isForgetful(id))
      broken(`I4: ${id} was acknowledged and is not found`);
    if (outcome.kind === 'done' && !idsIn(outcome.body).includes(id))
      broken(`I4: ${id} was asked for and is not in the answer`);
    return told(outcome);
  }

  async #change({ id, may }: Owned, action: string, final?: Final): Promise<string> {
    const { client, broken, isForgetful } = this.#options;
    const outcome = await client.call(action, { 'InstanceId.1': id });
    if (outcome.code === 'InvalidInstanceID.NotFound' && !isForgetful(id))
      broken(`I4: ${id} was acknowledged and is not found`);
    if (final !== undefined) {
      // Started or stopped, it may still end by a launch that fails; once terminated, nothing else is to come.
      if (outcome.kind === 'done' && (final === 'terminated' || !outcome.doubtful)) may.clear();
      if (outcome.kind === 'done' || outcome.doubtful) may.add(final);
      if (outcome.kind === 'done' && final !== 'terminated') may.add('terminated');
    }
    return told(outcome);
  }
}

const told = ({ kind, code }: Outcome): string => (code === undefined ? kind : `${kind} ${code}`);
