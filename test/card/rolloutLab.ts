/** Real cards with tenants on them, an engine of rollouts in a process of its own on PostgreSQL, and what the kernel shows. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { exec } from '#base/exec.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { probeVpcId } from '#contracts/card-probe.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { type PolicySpec, policySpec } from '#contracts/rollout-policy.ts';
import { RolloutBench } from '../region/rollouts/bench.ts';
import { CardFleet } from '../region/rollouts/card-fleet.ts';
import { attach, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const engineMain = join(import.meta.dirname, '../region/rollouts/engine-process.ts');
const untilMsMax = 90_000;

/** The canary first: the first two cards; what is measured decides whether there is a second wave. */
export const canaryPolicy = (cards: readonly LabCard[], more: Partial<PolicySpec> = {}): PolicySpec =>
  policySpec.parse({
    waves: [{ devices: cards.slice(0, 1).map(({ vtep }) => `card/${vtep}`) }, { rest: true }],
    ...{ bakeMs: 1_000, confirmMs: 3_000, errorThreshold: 0, onFailure: 'roll-back' },
    health: {
      checks: ['control', 'overlay', 'metadata', 'tcp', 'counters'],
      ...{ lossMax: 0.1, latencyFactorMax: 50, strikes: 2, everyMs: 200 },
    },
    ...more,
  });

/** Between two times of records. */
export const seconds = (from: string | undefined, to: string | undefined): string =>
  ((Date.parse(to ?? '') - Date.parse(from ?? '')) / 1_000).toFixed(2);

export class RolloutLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly cards: readonly LabCard[];
  readonly bench: RolloutBench<CardFleet>;
  readonly vms: readonly LabVm[];
  readonly #tls: readonly string[];
  readonly #stack: AsyncDisposableStack;
  #engine: ChildProcess | undefined;
  #engines = 0;

  private constructor(fields: {
    lab: Lab;
    cards: readonly LabCard[];
    bench: RolloutBench<CardFleet>;
    vms: readonly LabVm[];
    tls: readonly string[];
    stack: AsyncDisposableStack;
  }) {
    this.lab = fields.lab;
    this.cards = fields.cards;
    this.bench = fields.bench;
    this.vms = fields.vms;
    this.#tls = fields.tls;
    this.#stack = fields.stack;
  }

  /** `count` cards, the first and the last with a tenant's VM in one VPC. */
  static async create(count: number, options: { readonly programsDir?: string } = {}): Promise<RolloutLab> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await Lab.create());
    const cards: LabCard[] = [];
    for (let at = 1; at <= count; at += 1) cards.push(await lab.card(`c${at}`, options));
    const [first, last] = [cards[0], cards.at(-1)];
    assert.ok(first !== undefined && last !== undefined);
    const vms = [
      await lab.vm('a', first, portOf(10, first.vtep)),
      await lab.vm('b', last, portOf(11, last.vtep)),
    ];
    const state = vpcOf(
      'vpc-1',
      200,
      1,
      vms.map(({ port }) => port),
    );
    for (const [at, card] of [first, last].entries()) {
      await card.client.call('card.applyVpc', { state });
      const vm = vms[at];
      if (vm !== undefined) await attach(card, 'vpc-1', vm);
    }
    const { ca, cert, key } = await lab.tlsFiles('agent', 'test');
    const read = (path: string): string => readFileSync(path, 'utf8');
    const tls = { ca: read(ca), cert: read(cert), key: read(key) };
    const fleet = stack.use(new CardFleet(cards, tls));
    const bench = stack.use(await RolloutBench.create(fleet));
    return new RolloutLab({ lab, cards, bench, vms, tls: [ca, cert, key], stack: stack.move() });
  }

  /** Starts an engine in a process of its own. */
  startEngine(): void {
    const cards = JSON.stringify(this.cards.map(({ name, vtep }) => ({ name, vtep })));
    const name = `engine-${++this.#engines}`;
    this.#engine = spawn(process.execPath, [engineMain, name, this.bench.url, cards, ...this.#tls], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
  }

  /** `kill -9`. */
  async killEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    if (engine === undefined) return;
    const gone = new Promise<void>((resolve) => engine.once('exit', () => resolve()));
    engine.kill('SIGKILL');
    await gone;
  }

  /** Begins a change of the installation's settings; answers its id. */
  async begin(policy: string, body: FleetBody): Promise<string> {
    const { rolloutId } = await this.bench.as('alice').start(policy, body);
    assert.ok(rolloutId !== undefined);
    return rolloutId;
  }

  show(rolloutId: string) {
    return this.bench.as('alice').show(rolloutId);
  }

  async until(
    rolloutId: string,
    what: string,
    holds: (view: Awaited<ReturnType<RolloutLab['show']>>) => boolean,
    ms = untilMsMax,
  ) {
    const deadline = monotonicMs() + ms;
    for (;;) {
      const view = await this.show(rolloutId);
      if (holds(view)) return view;
      if (monotonicMs() > deadline) assert.fail(`never ${what}: ${JSON.stringify(view, null, 1)}`);
      await delay(25);
    }
  }

  /** Whether the tenants reach each other, with full segments, and their metadata. */
  async tenantsWork(): Promise<void> {
    const [a, b] = this.vms;
    assert.ok(a !== undefined && b !== undefined);
    const deadline = monotonicMs() + 20_000;
    const pings = `ping -c 2 -W 2 -i 0.2 -M do -s 1372 ${b.port.ip}`;
    for (const script of [pings, 'curl -s -m 3 -o /dev/null http://169.254.169.254/'])
      for (;;) {
        const { ok, out } = await a.run(script);
        if (ok) break;
        if (monotonicMs() > deadline) assert.fail(`the tenants are cut off: ${script}: ${out}`);
      }
  }

  /** Everything that a rollout may have changed on a card, as the tools show it, and by digest. */
  async kernel(card: LabCard): Promise<string> {
    const names = (await exec('ip', ['netns', 'list'])).stdout
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .filter((name) => name === card.netns || name.startsWith(card.namespacePrefix))
      .filter((name) => !name.endsWith(`-${probeVpcId}`))
      .sort();
    const shown = await Promise.all(
      names.map(async (name) => {
        const { stdout } = await exec('nsenter', [`--net=/run/netns/${name}`, 'sh', '-s'], {
          input: `nft -s list ruleset | grep -v 'elements = .* limit rate'
ip -4 route show table all | sort
ip -4 rule
ip neigh show nud permanent | sort
bridge fdb show | grep dst | sort
ip -o link | sed 's/^[0-9]*: //; s/ qdisc.*//'
`,
        });
        return `${name}\n${stdout}`;
      }),
    );
    return shown.join('\n');
  }

  card(index: number): LabCard {
    const card = this.cards[index];
    assert.ok(card !== undefined);
    return card;
  }

  kernels(): Promise<string[]> {
    return Promise.all(this.cards.map((card) => this.kernel(card)));
  }

  audit(rolloutId: string) {
    return this.bench.as('alice').audit(rolloutId);
  }

  /** Detection and rollback as the records of what was done say. */
  async timesOf(rolloutId: string): Promise<string> {
    const records = await this.audit(rolloutId);
    const commanded = records.find(({ to }) => to === 'commanded')?.at;
    const back = records.find(({ what, to }) => what === 'phase' && to === 'rolling-back')?.at;
    const over = records.find(({ what, to }) => what === 'phase' && to === 'rolled-back')?.at;
    return `found after ${seconds(commanded, back)} s, taken back after ${seconds(back, over)} s`;
  }

  /** After it was taken back: the first card alone was ever told, and all is as it was. */
  async isAsBefore(rolloutId: string, kernel: readonly string[]): Promise<void> {
    const records = await this.audit(rolloutId);
    const told = new Set(records.flatMap(({ to, deviceId }) => (to === 'commanded' ? deviceId : [])));
    assert.deepEqual([...told], [`card/${this.card(0).vtep}`]);
    for (const [index, card] of this.cards.entries())
      assert.equal(await this.kernel(card), kernel[index], card.name);
    await this.tenantsWork();
  }

  async fleetDigest(card: LabCard): Promise<string | undefined> {
    const { objects } = await card.client.call('card.objects', { vpcIds: [] });
    return objects.find(({ kind }) => kind === 'fleet')?.current?.digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killEngine();
    await this.#stack.disposeAsync();
  }
}
