/** What a transaction would change in a simulated card's kernel, if it had one: worked out by the real card's own models. */
import { previewOf } from '#base/network/kernelPreview.ts';
import { isDeclared, stateOf, type VpcParts } from '#base/network/parts.ts';
import { fleetOf, type Planned } from '#base/network/transaction.ts';
import { desiredOnCard } from '#card/model/desired.ts';
import { kernelDiff } from '#card/model/kernelDiff.ts';
import type { Model } from '#card/model/model.ts';
import type { LocalPort } from '#card/model/place.ts';
import { underFleet } from '#card/model/underFleet.ts';
import { underlayDiff } from '#card/model/underlay.ts';
import type { KernelPreview } from '#contracts/kernel-preview.ts';
import type { VpcPort } from '#contracts/network.ts';
import type { FleetBody } from '#contracts/network-objects.ts';

export interface SimulatedPort {
  readonly vpcId: string;
  readonly tap: string;
  readonly port: VpcPort;
  readonly active: boolean;
  readonly redirect?: { readonly ip: string; readonly port: number };
}

/** What a simulated card has, and what it would have. */
export interface SimulatedChange {
  readonly vtep: string;
  readonly ports: Iterable<SimulatedPort>;
  readonly parts: Iterable<VpcParts>;
  readonly fleet: Parameters<typeof fleetOf>[0];
  readonly planned: Planned;
}

const underlayDevice = 'ul';
const underlayMtu = 1_500;

export const simulatedPreview = ({ vtep, ports, parts, fleet, planned }: SimulatedChange): KernelPreview => {
  const [was, becomes] = [fleetOf(fleet), fleetOf(planned.fleet)];
  const isFleetwide = planned.fleet !== fleet;
  const byVpc = Map.groupBy(ports, ({ vpcId }) => vpcId);
  const model = (of: VpcParts, settings: FleetBody): Model | undefined => {
    const own = byVpc.get(of.vpcId) ?? [];
    const state = stateOf(of);
    if (own.length === 0 || state === undefined) return undefined;
    const locals = new Map(
      own.map(({ port, tap, active, redirect }): [string, LocalPort] => [
        port.eniId,
        { tap, wired: true, port, active, redirect },
      ]),
    );
    const under = underFleet(state, settings);
    return desiredOnCard(under, { ports: locals, forwards: new Map() }, new Map(), vtep, settings);
  };
  const vpcs = [...parts]
    .filter((of) => isDeclared(of) && (isFleetwide || planned.vpcs.has(of.vpcId)))
    .map((of) => ({
      vpcId: of.vpcId,
      lines: kernelDiff(model(of, was), model(planned.vpcs.get(of.vpcId) ?? of, becomes)),
    }));
  const own = { vpcId: undefined, lines: underlayDiff(underlayDevice, underlayMtu, was, becomes) };
  return previewOf([...(isFleetwide ? [own] : []), ...vpcs]);
};
