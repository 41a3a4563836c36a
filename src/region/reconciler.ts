/**
 * Level-triggered: compares what each connected device has confirmed with what the tables say that it should have, and
 * pushes the difference. Takes no input; woken by a hint (a device joined) and by a timer.
 */
import { sql } from 'kysely';
import type { Device, Pusher } from './push.ts';
import type { Database } from './schema.ts';

const pushesAtOnceMax = 8;

export interface ReconcilerOptions {
  readonly db: Database;
  readonly pusher: Pusher;
  readonly everyMs: number;
  /** Devices that can be told something now. */
  connected(): readonly { readonly device: Device; readonly want: (vpc: WantedVpc) => boolean }[];
  onError(error: unknown): void;
}

/** A VPC that some device should know: it has placed interfaces. */
export interface WantedVpc {
  readonly vpcId: string;
  readonly version: number;
  /** Numbers of the cells in which interfaces are placed. */
  readonly cells: readonly number[];
  readonly internetGateway: boolean;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.wake(), options.everyMs);
    this.#timer.unref();
  }

  /** Asks for a pass soon; one that runs now is followed by another. */
  wake(): void {
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#pass()
      .catch((error: unknown) => this.#options.onError(error))
      .finally(() => {
        this.#running = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.wake();
      });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#again = false;
    await this.#running;
  }

  async #pass(): Promise<void> {
    const connected = this.#options.connected();
    if (connected.length === 0) return;
    const wanted = await wantedVpcs(this.#options.db);
    const different = new Set<string>();
    for (const { device, want } of connected) {
      const has = this.#options.pusher.confirmed(device);
      // A later one was confirmed just now, or the store has gone back: the push tells which.
      for (const vpc of wanted) if (want(vpc) && has.get(vpc.vpcId) !== vpc.version) different.add(vpc.vpcId);
      const keep = new Set(wanted.filter(want).map((vpc) => vpc.vpcId));
      for (const vpcId of has.keys()) if (!keep.has(vpcId)) different.add(vpcId);
    }
    const queue = [...different];
    const worker = async (): Promise<void> => {
      for (let vpcId = queue.pop(); vpcId !== undefined; vpcId = queue.pop())
        await this.#options.pusher.push(vpcId);
    };
    await Promise.all(Array.from({ length: pushesAtOnceMax }, worker));
  }
}

const wantedVpcs = async (db: Database): Promise<readonly WantedVpc[]> => {
  // The cell's number is in the instance's id (S3.4): three hex digits after `i-`.
  const { rows } = await sql<{ vpc_id: string; version: number; cells: string[]; gateway: boolean }>`
    select v.vpc_id, v.version, array_agg(distinct substr(e.instance_id, 3, 3)) as cells,
      exists (select from internet_gateway g where g.vpc_id = v.vpc_id)
        and exists (select from gateway_device) as gateway
    from eni e join vpc v using (vpc_id) where e.vtep is not null group by v.vpc_id, v.version`.execute(db);
  return rows.map((row) => ({
    vpcId: row.vpc_id,
    version: row.version,
    cells: row.cells.map((digits) => Number.parseInt(digits, 16)),
    internetGateway: row.gateway,
  }));
};
