/**
 * What the kernel holds (or should hold) inside a VPC's namespace, as plain values. Desired models are computed from the
 * declared state, actual ones are read from the kernel; `plan` turns the difference into commands.
 */

/** A set or map of nftables. Elements of one with flags are owned by the running system, not by the declared state. */
export interface NftSet {
  readonly kind: 'set' | 'map';
  readonly type: string;
  /** `timeout`; `dynamic; size 1024`. */
  readonly flags?: string;
  readonly elements: ReadonlySet<string>;
}

export interface NftChain {
  /** `type filter hook forward priority filter; policy drop;` for a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export interface Model {
  /** Addresses on `lo`, with length: `10.0.0.1/32`. */
  readonly addresses: ReadonlySet<string>;
  /** Device → its MTU; all are up. */
  readonly links: ReadonlyMap<string, number>;
  /** `10.0.0.5 dev tap1` → MAC address. All are permanent. */
  readonly neighbours: ReadonlyMap<string, string>;
  /** MAC address → `198.18.1.12`, or `198.18.1.12 port 5000`, on the overlay device. */
  readonly fdb: ReadonlyMap<string, string>;
  /** `10.0.0.5 table main` → `dev tap1 src 10.0.0.1`, `via 169.254.0.1 dev vx0 onlink`, `unreachable`, `blackhole`. */
  readonly routes: ReadonlyMap<string, string>;
  /** `pref 1000 from 10.0.1.0/24 lookup 167772416`. */
  readonly rules: ReadonlySet<string>;
  /** `inet pando own` → set. */
  readonly sets: ReadonlyMap<string, NftSet>;
  /** `inet pando forward` → chain. */
  readonly chains: ReadonlyMap<string, NftChain>;
}

/** Of a namespace that was just made. */
export const emptyModel: Model = {
  addresses: new Set(),
  links: new Map(),
  neighbours: new Map(),
  fdb: new Map(),
  routes: new Map(),
  rules: new Set(),
  sets: new Map(),
  chains: new Map(),
};
