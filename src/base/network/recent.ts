/** The last places of each VPC, for peers that say by digest what they have: one that is a little behind is told the difference. */
import type { Known } from './needs.ts';
import type { VpcParts } from './parts.ts';
import type { Places } from './places.ts';

/** Of one VPC. */
const keptMax = 8;

export class RecentPlaces {
  readonly #byVpc = new Map<string, Places[]>();

  /** What was known before these parts. */
  add({ vpcId, places }: VpcParts): void {
    const known = this.#byVpc.get(vpcId) ?? [];
    if (known[0] !== places) this.#byVpc.set(vpcId, [places, ...known].slice(0, keptMax));
  }

  forget(vpcId: string): void {
    this.#byVpc.delete(vpcId);
  }

  /** The same, with the places themselves where the digest is that of some that were known lately. */
  resolve(vpcId: string, known: Known): Known {
    const { places } = known;
    if (places === undefined || 'entries' in places) return known;
    const same = this.#byVpc.get(vpcId)?.find(({ digest }) => digest === places.digest);
    return same === undefined ? known : { ...known, places: same };
  }
}
