/** Digests of network state: of one object, and of a set of places that changes entry by entry. */
import { hash } from 'node:crypto';
import { canonicalJson } from './canonicalJson.ts';
import type { VpcPort } from './network.ts';
import type { GatewayEntry, NetworkObject } from './network-objects.ts';

const halfOfSha256 = (value: unknown): string => hash('sha256', canonicalJson(value)).slice(0, 32);

/** Of an object's canonical form. Versions are not part of it: the same content is the same state. */
export const digestOf = ({ kind, id, body }: Pick<NetworkObject, 'kind' | 'id' | 'body'>): string =>
  halfOfSha256({ kind, id, body });

/** Of objects by kind and id, with the digest of each. */
export const digestOfAll = (digests: ReadonlyMap<string, string>): string =>
  halfOfSha256([...digests].sort(([one], [other]) => (one < other ? -1 : 1)));

type Entry = VpcPort | GatewayEntry;

/** The sum of the digests of all entries: an entry that comes or goes costs one hash, whatever the size of the set. */
export class PlacesDigest {
  #sum: bigint;

  constructor(before?: PlacesDigest) {
    this.#sum = before === undefined ? 0n : before.#sum;
  }

  add(entry: Entry): void {
    this.#sum = BigInt.asUintN(128, this.#sum + numberOf(entry));
  }

  /** An entry that was added. */
  remove(entry: Entry): void {
    this.#sum = BigInt.asUintN(128, this.#sum - numberOf(entry));
  }

  get value(): string {
    return this.#sum.toString(16).padStart(32, '0');
  }
}

const numberOf = (entry: unknown): bigint => BigInt(`0x${halfOfSha256(entry)}`);
