/**
 * A region on PostgreSQL and one cell whose hosts have simulated cards, and what goes over the wires between them: JSON as the RPC
 * encodes it, parsed anew by each receiver. In parts, or by whole documents as releases before parts did it.
 */
import { groupsByCard } from '#base/network/needs.ts';
import { changeParts, noParts, stateOf, type VpcParts } from '#base/network/parts.ts';
import { RecentPlaces } from '#base/network/recent.ts';
import { describeDevice, vpcsOf } from '#base/network/transaction.ts';
import { toJson } from '#base/rpc/json.ts';
import { CardObjects } from '#cell/hosts/card-objects.ts';
import type { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId, newId } from '#contracts/ids.ts';
import type { VpcState } from '#contracts/network.ts';
import type { DeviceTransaction, ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';
import { joinCell, leave } from '#region/cells.ts';
import type { PushStream } from '#region/devices.ts';
import { SimCard } from '#simhost/card.ts';
import { type Client, cellNumber, type TestRegion } from './test-region.ts';

export const vtepOf = (card: number): string => `198.18.${1 + Math.floor(card / 250)}.${1 + (card % 250)}`;

export class Wire {
  bytes = 0;
  messages = 0;

  /** What arrives. */
  carry<T>(value: T): T {
    const { pieces, bytes } = toJson(value);
    this.bytes += bytes;
    this.messages += 1;
    return JSON.parse(Buffer.concat(pieces).toString('utf8')) as T;
  }
}

/** A card's process, or what stands for it. */
export interface CalledCard {
  readonly vtep: string;
  call(method: keyof typeof cardContract, params: unknown): Promise<unknown>;
}

/** The cards of one cell, and its processor's part in telling them. */
export class NetworkFleet {
  readonly cards: SimCard[];
  /** Region to cell, and cell to cards. */
  readonly toCell = new Wire();
  readonly toCards = new Wire();
  /** Cards answer nothing while this is out. */
  hold: Promise<void> | undefined;
  /** A card has obeyed a transaction. */
  obeyed: ((card: number, vpcIds: readonly string[]) => void) | undefined;
  readonly #recent = new RecentPlaces();
  readonly #parts = new Map<string, VpcParts>();
  readonly #objects: CardObjects;
  readonly #isWhole: boolean;
  readonly #called: readonly CalledCard[] | undefined;

  /** `cards`: how many simulated ones, or those that are asked. */
  constructor(cards: number | readonly CalledCard[], isWhole: boolean) {
    this.#isWhole = isWhole;
    this.#called = typeof cards === 'number' ? undefined : cards;
    const vteps =
      typeof cards === 'number'
        ? Array.from({ length: cards }, (_, at) => vtepOf(at))
        : cards.map(({ vtep }) => vtep);
    this.cards = vteps.map((vtep) => new SimCard(vtep));
    const call = (hostId: string, method: string, params: unknown) =>
      this.#call(Number(hostId), method, params);
    this.#objects = new CardObjects({ call: call as never }, this.#recent);
  }

  get bytes(): number {
    return this.toCell.bytes + this.toCards.bytes;
  }

  clear(): void {
    for (const wire of [this.toCell, this.toCards]) {
      wire.bytes = 0;
      wire.messages = 0;
    }
  }

  async #call(card: number, method: string, params: unknown): Promise<unknown> {
    await this.hold;
    const sent = this.toCards.carry(params);
    const named = method as keyof typeof cardContract;
    const called = this.#called?.[card];
    const answer =
      called === undefined ? this.cards[card]?.handle(named, sent) : await called.call(named, sent);
    if (method === 'card.transact') this.obeyed?.(card, vpcsOf(params as DeviceTransaction));
    return JSON.parse(JSON.stringify(answer ?? {}));
  }

  /** What a processor's stream is to the region. */
  get stream(): PushStream<never> {
    const handlers: Record<string, (params: never) => unknown> = {
      'cell.objects': ({ vpcIds }: { vpcIds: string[] }) =>
        describeDevice(
          new Map(),
          vpcIds.flatMap((id) => this.#parts.get(id) ?? []),
        ),
      'cell.applyParts': (change: { objects: ObjectChange[]; places: PlacesDelta }) => this.#apply(change),
      'cell.applyVpc': ({ state }: { state: VpcState }) => this.#applyWhole(state),
    };
    const call = async (method: string, params: unknown): Promise<unknown> => {
      if (this.#isWhole && method !== 'cell.applyVpc')
        throw new PandoError('UnsupportedOperation', `${method} is not served here.`);
      return handlers[method]?.(this.toCell.carry(params) as never);
    };
    return { closed: false, call } as unknown as PushStream<never>;
  }

  async #apply({ objects, places }: { objects: ObjectChange[]; places: PlacesDelta }) {
    const { vpcId } = places;
    const before = this.#parts.get(vpcId);
    const parts = changeParts(before ?? noParts(vpcId), objects, [places]);
    if (before !== undefined && before !== parts) this.#recent.add(before);
    this.#parts.set(vpcId, parts);
    const byCard = groupsByCard(parts);
    await Promise.all(
      this.cards.map(async ({ vtep }, at) => {
        const groups = byCard.get(vtep);
        if (groups !== undefined) await this.#objects.bring(String(at), parts, groups);
      }),
    );
    return { has: describeDevice(new Map(), [parts]), unreachable: [] };
  }

  async #applyWhole(state: VpcState) {
    const cards = new Set(state.ports.map(({ vtep }) => vtep));
    await Promise.all(
      this.cards.map(async ({ vtep }, at) => {
        if (cards.has(vtep)) await this.#call(at, 'card.applyVpc', { state });
      }),
    );
    return { version: state.version, unreachable: [] };
  }

  /** The whole document of a VPC on each card that has it. */
  onCards(vpcId: string): VpcState[] {
    return this.cards.flatMap(({ parts }) => {
      const own = parts.get(vpcId);
      return (own === undefined ? undefined : stateOf(own)) ?? [];
    });
  }
}

const record = {
  ...{ cellId: 'c-1', number: cellNumber, zone: 'test-1a', state: 'active' as const },
  processors: ['127.0.0.1:1'],
};

/** Connects the fleet's cell; resolves with what disconnects it. */
export const connectFleet = async (
  { region }: TestRegion,
  fleet: Pick<NetworkFleet, 'stream'>,
): Promise<() => void> => {
  const { stream } = fleet;
  await joinCell(region, record, stream);
  return () => leave(region, stream);
};

export interface LargeVpc {
  readonly vpcId: string;
  readonly subnetId: string;
  readonly groupIds: readonly string[];
}

/** Of the VPC that is filled. */
export interface Size {
  readonly interfaces: number;
  /** Interfaces are spread over so many. */
  readonly cards: number;
  readonly groups: number;
  readonly groupsPerInterface: number;
  /** In each direction of each group. */
  readonly rules: number;
  readonly routes: number;
}

let filled = 0;

/** A VPC of this size, written into the store at once. */
export const fillVpc = async (
  { region: { db } }: TestRegion,
  client: Client,
  size: Size,
): Promise<LargeVpc> => {
  const { accountId } = client;
  filled += 1;
  const vpcId = (await client.call('CreateVpc', { CidrBlock: '10.8.0.0/16' })).Vpc?.VpcId ?? '';
  const made = await client.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.8.0.0/17' });
  const subnetId = made.Subnet?.SubnetId ?? '';
  const groupIds = Array.from({ length: size.groups }, () => newId('securityGroup'));
  await db
    .insertInto('security_group')
    .values(
      groupIds.map((group_id, at) => ({
        ...{ group_id, account_id: accountId, vpc_id: vpcId, name: `g${at}`, description: '' },
      })),
    )
    .execute();
  const rules = groupIds.flatMap((group_id) =>
    [true, false].flatMap((egress) =>
      Array.from({ length: size.rules }, (_, at) => ({
        ...{ rule_id: newId('securityGroupRule'), group_id, egress, protocol: '6' },
        ...{ from_port: 1_000 + at, to_port: 1_000 + at, cidr: `192.0.2.${at}/32` },
        ...{ referenced_group_id: null, description: null },
      })),
    ),
  );
  await inChunks(rules, (some) => db.insertInto('security_group_rule').values(some).execute());
  const { route_table_id } = await db
    .selectFrom('route_table')
    .select('route_table_id')
    .where('vpc_id', '=', vpcId)
    .executeTakeFirstOrThrow();
  const enis = Array.from({ length: size.interfaces }, (_, at) => ({
    ...{ eni_id: newId('networkInterface'), account_id: accountId, vpc_id: vpcId, subnet_id: subnetId },
    ...{ instance_id: newCellId('instance', cellNumber), attachment_id: newId('interfaceAttachment') },
    ...{ mac: `02:08:00:${hex(filled)}:${hex(at >> 8)}:${hex(at & 255)}`, host: at + 10, ip: ipOf(at + 10) },
    group_ids: Array.from(
      { length: size.groupsPerInterface },
      (_, n) => groupIds[(at + n) % groupIds.length] ?? '',
    ),
    ...{ vtep: vtepOf(at % size.cards), epoch: 1 },
  }));
  await inChunks(enis, (some) => db.insertInto('eni').values(some).execute());
  const routes = Array.from({ length: size.routes }, (_, at) => ({
    ...{ route_table_id, destination: `172.16.${at}.0/24`, kind: 'interface' as const },
    ...{ target_id: enis[at % enis.length]?.eni_id ?? null, origin: 'CreateRoute' as const },
  }));
  if (routes.length > 0) await db.insertInto('route').values(routes).execute();
  await db
    .updateTable('subnet')
    .set({ low_host: size.interfaces + 10 })
    .where('subnet_id', '=', subnetId)
    .execute();
  await db.updateTable('vpc').set({ ports: size.interfaces }).where('vpc_id', '=', vpcId).execute();
  return { vpcId, subnetId, groupIds };
};

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
const ipOf = (host: number): string => `10.8.${host >> 8}.${host & 255}`;

const inChunks = async <T>(
  rows: readonly T[],
  insert: (some: readonly T[]) => Promise<unknown>,
): Promise<void> => {
  for (let at = 0; at < rows.length; at += 1_000) await insert(rows.slice(at, at + 1_000));
};
