/** Which instance an interface is of, for as long as a process remembers: it never changes, and no other interface gets the id. */
import type { Database } from './schema.ts';

const keptMax = 10_000;

export class InterfaceOwners {
  readonly #db: Database;
  /** The one noted longest ago first. */
  readonly #kept = new Map<string, string>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** This process has just made the interface, or read it. */
  note(eniId: string, instanceId: string): void {
    this.#kept.set(eniId, instanceId);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest);
  }

  /** undefined: there is no such interface. One that was released may still be answered: who acts on it finds it gone. */
  async of(eniId: string): Promise<string | undefined> {
    const known = this.#kept.get(eniId);
    if (known !== undefined) return known;
    const eni = await this.#db
      .selectFrom('eni')
      .select('instance_id')
      .where('eni_id', '=', eniId)
      .executeTakeFirst();
    return eni?.instance_id;
  }
}
