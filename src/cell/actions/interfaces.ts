/** Interfaces of instances as EC2 shows them, from the region; its absence costs freshness, not the answer. */
import type { InstanceNetworkInterface } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import type { InterfacesOf } from './render.ts';

const interfacesTimeoutMs = 3_000;
/** What the region answers in one call. */
const instancesPerCallMax = 1_000;

/** `told`: of some of them, as the region has just told it; it is not asked for those. */
export const interfacesOf = async (
  context: CellContext,
  rows: readonly InstanceRow[],
  told: ReadonlyMap<string, readonly unknown[]> = new Map(),
): Promise<InterfacesOf> => {
  const ids = rows.filter((row) => row.state !== 'terminated' && !told.has(row.id)).map((row) => row.id);
  const { region, log } = context.services;
  // The region made them of EC2's own types, and the wire's schema checks them once more on the way out.
  const all = Object.fromEntries(told) as Record<string, readonly InstanceNetworkInterface[]>;
  try {
    for (let at = 0; at < ids.length; at += instancesPerCallMax) {
      const instanceIds = ids.slice(at, at + instancesPerCallMax);
      const params = { accountId: context.request.accountId, instanceIds };
      const { interfaces } = await region.call('region.interfaces', params, {
        timeoutMs: interfacesTimeoutMs,
      });
      Object.assign(all, interfaces as Record<string, InstanceNetworkInterface[]>);
    }
  } catch (error) {
    log.warn(
      { code: PandoError.from(error).code },
      'the region did not tell interfaces: showing what the cell knows',
    );
  }
  return all;
};
