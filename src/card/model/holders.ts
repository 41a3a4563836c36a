/**
 * Who holds each address of a VPC, as connection tracking sees it. Tracked flows are let through without asking the rules again, so
 * what was tracked for one holder must not serve the next one. Pure.
 */
import type { VpcState } from '#contracts/network.ts';
import { vxlanPort } from '../limits.ts';
import { type LocalState, placePorts } from './place.ts';

/** Which flows: all of the address, or only those with the world outside of the VPC. */
export interface FlowsOf {
  readonly ip: string;
  readonly reach: 'all' | 'outside';
}

/** `10.0.0.5 all` → who holds it. Nobody: absent. */
export type Holders = ReadonlyMap<string, string>;

/**
 * On the card at `vtep`. A port that moves by migration stays the same holder at every moment: its flows move with it. The public
 * address belongs to the flows with the world; those inside of the VPC outlive its change.
 */
export const cardHolders = (state: VpcState, locals: LocalState, vtep: string): Holders =>
  collect(
    placePorts(state, locals, vtep, vxlanPort)
      .filter(({ place }) => place !== undefined)
      .flatMap(({ port: { eniId, ip, publicIp } }): [FlowsOf, string][] => [
        [{ ip, reach: 'all' }, eniId],
        ...(publicIp === undefined ? [] : mapped(eniId, ip, publicIp)),
      ]),
  );

const mapped = (eniId: string, ip: string, publicIp: string): [FlowsOf, string][] => [
  [{ ip, reach: 'outside' }, `${eniId} ${publicIp}`],
  [{ ip: publicIp, reach: 'all' }, eniId],
];

/** On a gateway: each flow has been translated by the mapping that there was when it began. */
export const gatewayHolders = (state: VpcState): Holders =>
  collect(
    state.ports.flatMap(({ eniId, ip, publicIp, vtep }): [FlowsOf, string][] => {
      if (publicIp === undefined || vtep === undefined) return [];
      const pair = `${eniId} ${ip} ${publicIp}`;
      return [ip, publicIp].map((each) => [{ ip: each, reach: 'all' }, pair]);
    }),
  );

/** Whose flows have to go: the holder has gone, has come, or is another. */
export const movedFlows = (before: Holders, after: Holders): FlowsOf[] =>
  [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key))
    .map((key) => {
      const [ip = '', reach] = key.split(' ');
      return { ip, reach: reach === 'outside' ? 'outside' : 'all' };
    });

/** Two at once (the old one is not detached yet) are a holder of their own: it changes when either leaves. */
const collect = (owned: readonly [FlowsOf, string][]): Holders => {
  const holders = new Map<string, string>();
  for (const [{ ip, reach }, holder] of owned) {
    const key = `${ip} ${reach}`;
    const other = holders.get(key);
    holders.set(key, other === undefined ? holder : [other, holder].sort().join(' + '));
  }
  return holders;
};
