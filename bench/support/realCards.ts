/** A VPC on so many real cards: processes in network namespaces, one interface on each, told by the production region and cell code. */
import assert from 'node:assert/strict';
import { exec } from '#base/exec.ts';
import type { VpcPort } from '#contracts/network.ts';
import { attach, Lab, type LabCard } from '../../test/card/lab.ts';
import {
  type CalledCard,
  connectFleet,
  fillVpc,
  NetworkFleet,
  vtepOf,
} from '../../test/region/network-fleet.ts';
import type { Client, TestRegion } from '../../test/region/test-region.ts';

/** Processes that are started, and kernels that are looked at, at the same time. */
const atOnce = 4;
const callTimeoutMs = 30_000;

const inTurns = async <T>(
  all: readonly T[],
  work: (one: T, at: number) => Promise<unknown>,
): Promise<void> => {
  const left = all.entries();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [at, one] of left) await work(one, at);
    }),
  );
};

const calledOf = ({ vtep, client }: LabCard): CalledCard => ({
  vtep,
  call: (method, params) => client.call(method, params as never, { timeoutMs: callTimeoutMs }),
});

export class RealCards implements AsyncDisposable {
  readonly groupId: string;
  readonly #lab: Lab;
  readonly #cards: readonly LabCard[];
  readonly #vpcId: string;
  readonly #disconnect: () => void;

  private constructor(
    lab: Lab,
    cards: readonly LabCard[],
    made: { vpcId: string; groupId: string; disconnect: () => void },
  ) {
    this.#lab = lab;
    this.#cards = cards;
    this.#vpcId = made.vpcId;
    this.groupId = made.groupId;
    this.#disconnect = made.disconnect;
  }

  static async create(region: TestRegion, client: Client, count: number): Promise<RealCards> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await Lab.create());
    const cards: LabCard[] = [];
    const names = Array.from({ length: count }, (_, at) => `c${at + 1}`);
    await inTurns(names, async (name, at) => {
      cards[at] = await lab.card(name);
    });
    const size = { interfaces: count, cards: count, groups: 1, groupsPerInterface: 1, rules: 20, routes: 10 };
    const { vpcId, groupIds } = await fillVpc(region, client, size);
    const { db, pusher } = region.region;
    for (const [at, { vtep }] of cards.entries())
      await db
        .updateTable('eni')
        .set({ vtep })
        .where('vpc_id', '=', vpcId)
        .where('vtep', '=', vtepOf(at))
        .execute();
    const disconnect = await connectFleet(region, new NetworkFleet(cards.map(calledOf), false));
    stack.defer(disconnect);
    await pusher.push(vpcId);
    const state = await region.region.compile(vpcId);
    await inTurns(cards, async (card, at) => {
      const port = state?.ports.find(({ vtep }) => vtep === card.vtep);
      assert.ok(port !== undefined, `${card.name} has an interface`);
      await putUp(lab, card, vpcId, port, at);
    });
    stack.move();
    return new RealCards(lab, cards, { vpcId, groupId: groupIds[0] ?? '', disconnect });
  }

  /** Cards whose kernel has no rule with this port. */
  async without(port: number): Promise<string[]> {
    const lacking: string[] = [];
    await inTurns(this.#cards, async ({ name, namespacePrefix }) => {
      const { stdout } = await exec('nsenter', [
        `--net=/run/netns/${namespacePrefix}${this.#vpcId}`,
        ...['nft', 'list', 'ruleset'],
      ]);
      if (!new RegExp(`\\b${port}\\b`).test(stdout)) lacking.push(name);
    });
    return lacking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disconnect();
    await this.#lab[Symbol.asyncDispose]();
  }
}

const putUp = async (lab: Lab, card: LabCard, vpcId: string, port: VpcPort, at: number): Promise<void> =>
  attach(card, vpcId, await lab.vm(`v${at}`, card, port));
