/** Where this card sends packets for each port of a VPC. */
import type { VpcPort, VpcState } from '#contracts/network.ts';

export interface Endpoint {
  readonly ip: string;
  readonly port: number;
}

/** A port whose tap is in this card. */
export interface LocalPort {
  readonly tap: string;
  /** Whether the tap is in the VPC's namespace; before that the port is only recorded. */
  readonly wired: boolean;
  /** As it was attached; its epoch says whether newer state has moved it elsewhere. */
  readonly port: VpcPort;
  /** false: the target of a migration before the switch. */
  readonly active: boolean;
  /**
   * On that target, from the critical phase on: what comes over the overlay goes to the tap already, where it waits for the guest.
   * What this card itself sends to the port still goes the old way, behind what is held there.
   */
  readonly arriving?: boolean | undefined;
  /** Where everything for the port is about to go: known already, so that the redirection itself is one change of a route. */
  readonly preparedRedirect?: Endpoint | undefined;
  /** Everything for the port goes here instead of to the tap: a packet queue, or the next card. */
  readonly redirect?: Endpoint | undefined;
  /** The redirection is for now: after this time the port goes back to its tap by itself. */
  readonly redirectLapseMs?: number | undefined;
}

/** What a card knows besides the declared state. */
export interface LocalState {
  readonly ports: ReadonlyMap<string, LocalPort>;
  /** Ports that have left, and the tunnel end to forward to until the state says so too (S6.6). Keyed by interface id. */
  readonly forwards: ReadonlyMap<string, string>;
}

export type Place = { kind: 'tap'; tap: string } | { kind: 'overlay'; to: Endpoint };

export interface PlacedPort {
  readonly port: VpcPort;
  readonly local: LocalPort | undefined;
  /** undefined: nowhere, the address does not answer. */
  readonly place: Place | undefined;
}

/** Every port of the VPC, declared or attached here, with its place as seen from the card at `vtep`. Attached ones come last. */
export const placePorts = (state: VpcState, locals: LocalState, vtep: string, port: number): PlacedPort[] => {
  const declared = new Map(state.ports.map((each) => [each.eniId, each]));
  for (const [eniId, { port: attached }] of locals.ports)
    if (!declared.has(eniId)) declared.set(eniId, attached);
  const all = [...declared.values()].map((each): PlacedPort => {
    const local = locals.ports.get(each.eniId);
    return { port: each, local, place: placeOf(each, local, locals.forwards.get(each.eniId), vtep, port) };
  });
  return [
    ...all.filter(({ local }) => local === undefined),
    ...all.filter(({ local }) => local !== undefined),
  ];
};

const placeOf = (
  declared: VpcPort,
  local: LocalPort | undefined,
  forwardTo: string | undefined,
  vtep: string,
  vxlanPort: number,
): Place | undefined => {
  if (local?.redirect !== undefined) return { kind: 'overlay', to: local.redirect };
  const elsewhere = declared.vtep !== undefined && declared.vtep !== vtep ? declared.vtep : undefined;
  // A newer epoch elsewhere means that the port has moved while its tap was still here: only the new place counts.
  const movedAway = elsewhere !== undefined && declared.epoch > (local?.port.epoch ?? -1);
  if (local?.wired && local.active && !movedAway) return { kind: 'tap', tap: local.tap };
  const to = elsewhere ?? (local === undefined ? forwardTo : undefined);
  return to === undefined ? undefined : { kind: 'overlay', to: { ip: to, port: vxlanPort } };
};
