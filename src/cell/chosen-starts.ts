/**
 * When VMs on a host that is emptied may be moved: the start that a customer chose for an event (ModifyInstanceEventStartTime) goes before
 * the event windows of its account. Before it the VM stays, from it on until the event's end it may be moved; after that windows count again.
 */
import { eventWindowsOf, type Windowed } from './event-windows.ts';
import type { CellServices } from './services.ts';
import { chosenEvents } from './store/instance-events.ts';

export const movesAllowed = async (
  services: Pick<CellServices, 'db' | 'region' | 'clock'>,
  workflowId: string,
  instanceIds: readonly string[],
): Promise<ReadonlyMap<string, Windowed>> => {
  const chosen = await chosenEvents(services.db, workflowId, instanceIds);
  const nowMs = services.clock.now();
  const allowed = new Map<string, Windowed>();
  for (const { instance_id: instanceId, not_before: from, not_after: until } of chosen) {
    if (until.getTime() <= nowMs) continue;
    const [opensAtMs, closesAtMs] = [from.getTime(), until.getTime()];
    const open = opensAtMs <= nowMs;
    allowed.set(instanceId, { instanceId, windowIds: [], chosen: true, open, opensAtMs, closesAtMs });
  }
  const others = instanceIds.filter((id) => !allowed.has(id));
  return new Map([...allowed, ...(await eventWindowsOf(services, others))]);
};
