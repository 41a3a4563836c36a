/** The greatest fence that a device has obeyed (S8.5): an engine of rollouts that was replaced, or a command that comes late, is refused. */
import { PandoError } from '#contracts/errors.ts';
import type { DeviceTransaction } from '#contracts/network-objects.ts';

export type Fence = NonNullable<DeviceTransaction['fence']>;

export const isOlder = (fence: Fence, than: Fence): boolean =>
  fence.epoch < than.epoch || (fence.epoch === than.epoch && fence.number < than.number);

/** The greater of what was obeyed and what comes; without a fence: as it was. @throws StaleEpoch for a lesser one */
export const obey = (obeyed: Fence | undefined, fence: Fence | undefined): Fence | undefined => {
  if (fence === undefined) return obeyed;
  if (obeyed !== undefined && isOlder(fence, obeyed))
    throw new PandoError(
      'StaleEpoch',
      `Rollouts are run under epoch ${obeyed.epoch} by now (command ${obeyed.number}), not ${fence.epoch} (${fence.number}).`,
    );
  return fence;
};
