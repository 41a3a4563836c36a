/** A VPC's parts without what nobody confirmed. */
import type { Logger } from '#base/log.ts';
import { isDeclared, type VpcParts } from '#base/network/parts.ts';
import { takeBack, type Undo } from '#base/network/transaction.ts';
import type { VpcRecord } from './store.ts';

/** The same parts where there is nothing to take back. */
export const withoutChanges = (parts: VpcParts, undo: readonly Undo[]): VpcParts => {
  const own = undo.filter(({ vpcId }) => vpcId === parts.vpcId);
  return own.length === 0 ? parts : { ...parts, objects: takeBack(parts.objects, own) };
};

/**
 * Of a record that the next process finds. As in life (`Vpc.become`), a VPC with ports stays declared: else the taps of its VMs would go
 * with the namespace.
 */
export const withoutLapsed = (
  { vpcId, parts, ports }: VpcRecord,
  undo: readonly Undo[],
  log: Logger,
): VpcParts => {
  const before = withoutChanges(parts, undo);
  if (ports.length === 0 || !isDeclared(parts) || isDeclared(before)) return before;
  log.error({ vpcId }, 'a declaration that nobody confirmed is not taken back: its VPC has ports here');
  return parts;
};
