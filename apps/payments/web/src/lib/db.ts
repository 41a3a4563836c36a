/** What this browser keeps in IndexedDB: the keys of its people, and messages that were not answered yet. */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import type { PathName } from './paths.ts';
import type { SigningDevice } from './signing.ts';

export interface DeviceKey extends SigningDevice {
  readonly personId: string;
}

/** A signed message on its way. It is written before it is first sent and goes out with the same key and bytes until answered. */
export interface OutboxEntry {
  /** The `Idempotency-Key`. */
  readonly key: string;
  readonly personId: string;
  readonly name: PathName;
  readonly params: Readonly<Record<string, string>>;
  readonly bodyText: string;
  /** For people: what this is. */
  readonly title: string;
  readonly at: number;
  readonly state: 'waiting' | 'answered' | 'refused';
  readonly attempts: number;
  readonly answer?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

interface Schema extends DBSchema {
  keys: { key: string; value: DeviceKey };
  outbox: { key: string; value: OutboxEntry };
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

export function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>('pando-payments', 1, {
    upgrade(db) {
      db.createObjectStore('keys', { keyPath: 'personId' });
      db.createObjectStore('outbox', { keyPath: 'key' });
    },
  });
  return opened;
}
