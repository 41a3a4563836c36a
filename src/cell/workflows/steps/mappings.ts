/**
 * Before a host that was emptied is cut off: until every device knows where its VMs are now, packets for them still come here, and are
 * forwarded (S6.6).
 */
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { PandoError } from '#contracts/errors.ts';
import { mappingsAtOnceMax, mappingsLookAgainMs, mappingsPatienceMs } from '../../limits.ts';
import type { CellServices } from '../../services.ts';

interface MappingsContext {
  readonly services: Pick<CellServices, 'hosts' | 'region' | 'clock' | 'log'>;
  readonly signal: AbortSignal;
}

/** Devices that do not know yet where a VPC's interfaces are. */
const devicesBehind = async (
  { region }: MappingsContext['services'],
  vpcId: string,
): Promise<readonly string[]> => {
  try {
    return (await region.call('region.pushVpc', { vpcId })).unreachable;
  } catch (error) {
    // Nothing of this cell is in the VPC any more, so nothing is forwarded there; a region of the last release is not asked.
    if (isUnknownMethod(error) || PandoError.from(error).code === 'UnauthorizedOperation') return [];
    throw error;
  }
};

/**
 * Waits until no device sends to the host's card any more for VMs that have left. Those that cannot be told for `mappingsPatienceMs` are
 * logged, and not waited for.
 *
 * @throws HostUnreachable, and what the region throws: whether the host may be cut off is not known
 */
export const untilMappingsConverge = async (
  { services, signal }: MappingsContext,
  hostId: string,
): Promise<void> => {
  const { hosts, clock, log } = services;
  const beganMs = clock.monotonicMs();
  const isOver = (): boolean => clock.monotonicMs() - beganMs > mappingsPatienceMs;
  const { vpcs } = await hosts.card(hostId, 'card.status', {});
  let behind: Behind = new Map(vpcs.map(({ vpcId }) => [vpcId, []]));
  while (behind.size > 0) {
    behind = await stillBehind(services, behind, isOver);
    if (behind.size === 0) return;
    if (isOver()) {
      log.warn(
        { host: hostId, behind: Object.fromEntries(behind) },
        'devices were not told where the VMs of an emptied host are: what they send there is lost once it is cut off',
      );
      return;
    }
    await clock.sleep(mappingsLookAgainMs, signal);
    if (signal.aborted) throw new PandoError('Cancelled', 'The processor stops.');
  }
};

/** VPCs, and who is behind in them by the last answer. */
type Behind = ReadonlyMap<string, readonly string[]>;

/** Those that are left. What is not asked for in time stays. */
const stillBehind = async (
  services: MappingsContext['services'],
  before: Behind,
  isOver: () => boolean,
): Promise<Behind> => {
  const left = new Map(before);
  const vpcIds = [...before.keys()];
  const worker = async (): Promise<void> => {
    while (!isOver()) {
      const vpcId = vpcIds.pop();
      if (vpcId === undefined) return;
      const devices = await devicesBehind(services, vpcId);
      if (devices.length > 0) left.set(vpcId, devices);
      else left.delete(vpcId);
    }
  };
  await Promise.all(Array.from({ length: mappingsAtOnceMax }, worker));
  return left;
};
