/** Hosts of one type's group, by how good a place each is: found, moved and removed in constant time. */

const wordBits = 32;
export const absent = -1;

export class Buckets {
  readonly #lists: (number[] | undefined)[] = [];
  /** One bit a bucket that has somebody, and one bit a word that has a bit. */
  readonly #words: Uint32Array;
  readonly #summary: Uint32Array;
  #bucketOf: Int32Array;
  #placeOf: Int32Array;

  constructor(bucketCount: number, hosts = 64) {
    const words = Math.ceil(bucketCount / wordBits);
    this.#words = new Uint32Array(words);
    this.#summary = new Uint32Array(Math.ceil(words / wordBits));
    this.#bucketOf = new Int32Array(hosts).fill(absent);
    this.#placeOf = new Int32Array(hosts);
  }

  /** The host's bucket; `absent` where it has none. */
  of(host: number): number {
    return this.#bucketOf[host] ?? absent;
  }

  /** Puts a host into a bucket, or takes it out of all (`absent`). */
  put(host: number, bucket: number): void {
    if (host >= this.#bucketOf.length) this.#grow(host);
    const former = this.#bucketOf[host] ?? absent;
    if (former === bucket) return;
    if (former !== absent) this.#remove(host, former);
    if (bucket !== absent) this.#add(host, bucket);
  }

  /** Calls `visit` with hosts, the best bucket first, until it answers `true`. */
  walk(visit: (host: number) => boolean): void {
    for (let group = 0; group < this.#summary.length; group++)
      for (let left = this.#summary[group] ?? 0; left !== 0; left &= left - 1) {
        const word = group * wordBits + lowestBit(left);
        if (this.#walkWord(word, visit)) return;
      }
  }

  #walkWord(word: number, visit: (host: number) => boolean): boolean {
    for (let left = this.#words[word] ?? 0; left !== 0; left &= left - 1) {
      const list = this.#lists[word * wordBits + lowestBit(left)] ?? [];
      for (let at = 0; at < list.length; at++) if (visit(list[at] ?? absent)) return true;
    }
    return false;
  }

  #add(host: number, bucket: number): void {
    const list = this.#lists[bucket] ?? [];
    this.#lists[bucket] = list;
    this.#bucketOf[host] = bucket;
    this.#placeOf[host] = list.push(host) - 1;
    const word = bucket >>> 5;
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (bucket & 31));
    this.#summary[word >>> 5] = (this.#summary[word >>> 5] ?? 0) | (1 << (word & 31));
  }

  #remove(host: number, bucket: number): void {
    const list = this.#lists[bucket] ?? [];
    const last = list.pop() ?? absent;
    const place = this.#placeOf[host] ?? 0;
    if (last !== host) {
      list[place] = last;
      this.#placeOf[last] = place;
    }
    this.#bucketOf[host] = absent;
    if (list.length > 0) return;
    const word = bucket >>> 5;
    const bits = (this.#words[word] ?? 0) & ~(1 << (bucket & 31));
    this.#words[word] = bits;
    if (bits === 0) this.#summary[word >>> 5] = (this.#summary[word >>> 5] ?? 0) & ~(1 << (word & 31));
  }

  #grow(host: number): void {
    const size = Math.max(host + 1, this.#bucketOf.length * 2);
    const buckets = new Int32Array(size).fill(absent);
    buckets.set(this.#bucketOf);
    const places = new Int32Array(size);
    places.set(this.#placeOf);
    this.#bucketOf = buckets;
    this.#placeOf = places;
  }
}

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);
