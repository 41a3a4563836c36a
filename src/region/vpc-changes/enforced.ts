/**
 * Notes when every device that a change concerns had it. Written after the caller is answered, several at a time. Of a process that ends
 * before that, or whose devices are another's, the next look finds the change, and asks the devices.
 */
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import type { Pusher } from '../push.ts';
import type { Database } from '../schema.ts';

/** VPCs with changes that are not known to be enforced yet; beyond, the look finds them. */
const vpcsMax = 10_000;
const writeAfterMs = 100;
export const lookEveryMs = 30_000;
/** Younger ones are being told just now. */
const lookAfterSeconds = 10;
const lookedAtMax = 20;

interface Versions {
  readonly from: number;
  readonly to: number;
}

export interface EnforcedOptions {
  readonly db: Database;
  readonly log: Logger;
  readonly pusher: Pick<Pusher, 'push'>;
}

export class Enforced {
  readonly #options: EnforcedOptions;
  /** Not known to be enforced. */
  readonly #open = new Map<string, Versions>();
  /** To be written down. */
  #due: { readonly vpcId: string; readonly versions: Versions; readonly atMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: EnforcedOptions) {
    this.#options = options;
  }

  start(): void {
    this.#look = setInterval(() => void this.look(), lookEveryMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#look);
    clearTimeout(this.#timer);
    this.#write();
    await this.#writing;
  }

  /** A change was committed, and devices are about to be told. */
  expect(vpcId: string, version: number): void {
    const known = this.#open.get(vpcId);
    if (known === undefined && this.#open.size >= vpcsMax) return;
    const { from, to } = known ?? { from: version, to: version };
    this.#open.set(vpcId, { from: Math.min(from, version), to: Math.max(to, version) });
  }

  /** Every device that a VPC concerns has this version. Cheap where no change is expected: most pushes are launches. */
  has(vpcId: string, version: number, atMs: number): void {
    const open = this.#open.get(vpcId);
    if (open === undefined || version < open.from) return;
    if (version >= open.to) this.#open.delete(vpcId);
    else this.#open.set(vpcId, { from: version + 1, to: open.to });
    this.#due.push({ vpcId, versions: { from: open.from, to: Math.min(version, open.to) }, atMs });
    this.#timer ??= setTimeout(() => this.#write(), writeAfterMs).unref();
  }

  /** Changes that nobody here waits for. */
  async look(): Promise<void> {
    const { db, log, pusher } = this.#options;
    try {
      const { rows } = await sql<{ vpc_id: string; first: number; last: number }>`
        select c.vpc_id, min(c.version) as first, max(c.version) as last
        from vpc_change c join vpc v using (vpc_id)
        where c.told and c.made_at between now() - interval '1 day' and now() - ${lookAfterSeconds} * interval '1 second'
          and not exists (select from vpc_change_enforced e where e.change_id = c.change_id)
        group by c.vpc_id order by min(c.change_id) limit ${lookedAtMax}`.execute(db);
      for (const { vpc_id, first, last } of rows) {
        this.expect(vpc_id, first);
        this.expect(vpc_id, last);
        await pusher.push(vpc_id);
      }
    } catch (err) {
      log.debug({ err }, 'changes were not looked at; the next look does');
    }
  }

  /** Resolves when what is known has been written down. */
  async written(): Promise<void> {
    this.#write();
    await this.#writing;
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = this.#due;
    this.#due = [];
    if (due.length === 0) return;
    this.#writing = this.#writing
      .then(() => writeEnforced(this.#options.db, due))
      .catch((err: unknown) =>
        this.#options.log.debug(
          { err },
          'when changes were enforced was not written down; the next look finds it',
        ),
      );
  }
}

const writeEnforced = async (
  db: Database,
  due: readonly { readonly vpcId: string; readonly versions: Versions; readonly atMs: number }[],
): Promise<void> => {
  await sql`
    insert into vpc_change_enforced (change_id, made_at)
    select c.change_id, to_timestamp(d.at_ms / 1000)
    from unnest(${due.map(({ vpcId }) => vpcId)}::text[], ${due.map(({ versions }) => versions.from)}::int[],
      ${due.map(({ versions }) => versions.to)}::int[], ${due.map(({ atMs }) => atMs)}::double precision[])
      as d (vpc_id, first, last, at_ms)
    join vpc_change c on c.vpc_id = d.vpc_id and c.version between d.first and d.last and c.told
    on conflict do nothing`.execute(db);
};
