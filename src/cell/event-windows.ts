/**
 * Which VMs may be moved now, by the event windows of their accounts (EC2's), which the region keeps. A region that does not answer may
 * know of one: nothing is moved on the belief that there is none.
 */
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  closingMs,
  type HourRange,
  type InstanceWindow,
  nextOpeningMs,
  type WindowedInstance,
  windowedInstancesMax,
} from '#contracts/event-windows.ts';
import type { CellServices } from './services.ts';
import type { InstanceRow } from './store/instances.ts';

type Needs = Pick<CellServices, 'db' | 'region' | 'clock'>;

/** An instance that is in windows of its account. */
export interface Windowed {
  readonly instanceId: string;
  /** None: the region does not answer. */
  readonly windowIds: readonly string[];
  /** May it be moved now? */
  readonly open: boolean;
  /** When it may be moved next, and until when. Absent: nobody can say. */
  readonly opensAtMs?: number;
  readonly closesAtMs?: number;
  /** Its owner chose the time of its move. */
  readonly chosen?: true;
}

/** How many tags of an instance are asked about: all that it can have. */
const tagsAskedMax = 64;

const instancesOf = async ({ db }: Needs, ids: readonly string[]): Promise<WindowedInstance[]> =>
  (
    await db.query<Pick<InstanceRow, 'id' | 'account_id' | 'tags' | 'spec'>>(
      'select id, account_id, tags, spec from instances where id = any($1)',
      [ids],
    )
  ).map(({ id, account_id: accountId, tags, spec }) => ({
    ...{ instanceId: id, accountId },
    tags: tags.slice(0, tagsAskedMax).map(({ Key, Value }) => ({ Key, Value })),
    ...(spec.dedicatedHost === undefined ? {} : { dedicatedHostId: spec.dedicatedHost.hostId }),
  }));

const windowedAt = (instanceId: string, windows: readonly InstanceWindow[], nowMs: number): Windowed => {
  const hours: readonly HourRange[] = windows.flatMap((each) => each.hours);
  const opensAtMs = nextOpeningMs(hours, nowMs);
  return {
    ...{ instanceId, windowIds: windows.map(({ windowId }) => windowId), open: opensAtMs === nowMs },
    ...(opensAtMs === undefined ? {} : { opensAtMs, closesAtMs: closingMs(hours, opensAtMs) }),
  };
};

const askRegion = async (
  { region }: Needs,
  instances: readonly WindowedInstance[],
): Promise<readonly InstanceWindow[]> => {
  try {
    return (await region.call('region.eventWindows', { instances: [...instances] })).windows;
  } catch (error) {
    // A region of the last release has no event windows.
    if (isUnknownMethod(error)) return [];
    // Away, busy or broken: it has not said that there are none.
    if (PandoError.from(error).class === 'refused') throw error;
    return instances.map(({ instanceId }) => ({ instanceId, windowId: '', hours: [] }));
  }
};

/** Those of these instances that are in a window, by their ids. All others may be moved at any time. */
export const eventWindowsOf = async (
  needs: Needs,
  instanceIds: readonly string[],
): Promise<ReadonlyMap<string, Windowed>> => {
  const instances = await instancesOf(needs, instanceIds);
  const found: InstanceWindow[] = [];
  for (let at = 0; at < instances.length; at += windowedInstancesMax)
    found.push(...(await askRegion(needs, instances.slice(at, at + windowedInstancesMax))));
  const nowMs = needs.clock.now();
  const byInstance = Map.groupBy(found, ({ instanceId }) => instanceId);
  return new Map(
    [...byInstance].map(([id, windows]) => [
      id,
      windowedAt(
        id,
        windows.filter(({ windowId }) => windowId !== ''),
        nowMs,
      ),
    ]),
  );
};

/** For people. */
export const waitWords = ({ instanceId, windowIds, opensAtMs, chosen }: Windowed): string => {
  if (opensAtMs === undefined)
    return `${instanceId} may be in an event window, and the region does not answer`;
  const at = new Date(opensAtMs).toISOString();
  return chosen
    ? `${instanceId} is to be moved from ${at} on, as its owner chose`
    : `${instanceId} waits for its event window ${windowIds.join(', ')}, which opens at ${at}`;
};
