/** A host's VMs move away, a few at a time; whoever looks again after a crash finds what is left of them. */
import { PandoError } from '#contracts/errors.ts';
import { movesAllowed } from '../../chosen-starts.ts';
import { type Windowed, waitWords } from '../../event-windows.ts';
import {
  drainLookAgainMs,
  drainPatienceMs,
  drainsPerCellMax,
  drainsPerHostMax,
  eventDeadlineMarginMs,
  eventWindowLookAgainMs,
  eventWindowPatienceMs,
  windowedVmsMax,
} from '../../limits.ts';
import { beginMove } from '../../moves.ts';
import type { CellServices } from '../../services.ts';
import { planMoves } from '../../store/instance-events.ts';
import { type InstanceRow, lockInstances } from '../../store/instances.ts';
import type { WorkflowRow } from '../../store/workflows.ts';
import type { StepContext } from '../../workflow/definition.ts';
import { sleepFor, type Wait } from '../../workflow/wait.ts';

export interface Emptied {
  /** What cannot be moved, for people: a stopped instance has its disk there. Empty: nothing is left. */
  readonly left: readonly string[];
}

interface Lying extends Pick<InstanceRow, 'id' | 'state' | 'workflow_id'> {
  readonly moving: boolean;
}

const lyingOn = (services: CellServices, hostId: string): Promise<Lying[]> =>
  services.db.query<Lying>(
    `select i.id, i.state, i.workflow_id, m.id is not null as moving
     from instances i left join claims m on m.id = 'migration/' || i.id
     where i.terminated_at is null and (i.host_id = $1 or m.host_id = $1) order by i.memory_mib, i.id`,
    [hostId],
  );

const movingInCell = async ({ db }: CellServices): Promise<number> =>
  (await db.query<{ n: number }>("select count(*)::int as n from claims where purpose = 'migration'"))[0]
    ?.n ?? 0;

const isLeft = ({ state, workflow_id: workflowId }: Lying): boolean =>
  state === 'stopped' && workflowId === null;

const beginMoveOf = (services: CellServices, instanceId: string): Promise<WorkflowRow> =>
  services.capacity.transaction(async (tx, placing) => {
    const [row] = await lockInstances(tx, undefined, [instanceId]);
    if (row === undefined) throw new PandoError('NotFound', `${instanceId} is not known in this cell.`);
    return (await beginMove({ services, owner: services.starts.owner }, tx, placing, row)).workflow;
  });

interface Begun {
  readonly begun: number;
  /** Who found no room elsewhere, for people. */
  readonly without?: string;
  /** Those that may not be moved just now, as far as they were looked at. */
  readonly outside: readonly Windowed[];
}

const isReady = ({ state, workflow_id: id, moving }: Lying): boolean =>
  state === 'running' && id === null && !moving;

const idsOf = (lying: readonly Lying[]): string[] => lying.slice(0, windowedVmsMax).map(({ id }) => id);

type Context<I, R> = Pick<StepContext<I, R, CellServices>, 'services' | 'waitedMs' | 'workflowId'>;

/** Begins as many migrations as may be under way. */
const moveSome = async <I, R>(
  { services, workflowId }: Context<I, R>,
  lying: readonly Lying[],
  ignoreWindows: boolean,
): Promise<Begun> => {
  const under = lying.filter(({ moving }) => moving).length;
  let room = Math.min(drainsPerHostMax - under, drainsPerCellMax - (await movingInCell(services)));
  const ready = lying.filter(isReady);
  const windows =
    ignoreWindows || room <= 0 ? new Map() : await movesAllowed(services, workflowId, idsOf(ready));
  const outside = [...windows.values()].filter(({ open }: Windowed) => !open);
  const waiting = new Set(outside.map(({ instanceId }) => instanceId));
  let without: string | undefined;
  let begun = 0;
  for (const { id } of ready.filter((each) => !waiting.has(each.id))) {
    if (room <= 0) break;
    try {
      services.starts.start([await beginMoveOf(services, id)]);
      room -= 1;
      begun += 1;
    } catch (error) {
      const { code, message } = PandoError.from(error);
      // Another has it just now, or it has ended: the next look shows.
      if (code === 'IncorrectInstanceState' || code === 'NotFound') continue;
      if (code !== 'InsufficientInstanceCapacity') throw error;
      without = `${id} finds no room elsewhere: ${message}`;
    }
  }
  return { begun, outside, ...(without === undefined ? {} : { without }) };
};

/** The host's row tells what is waited for, and each instance's status when it is to be moved. */
const noteWaits = async <I, R>(
  { services, workflowId, waitedMs }: Context<I, R>,
  hostId: string,
  lying: readonly Lying[],
  outside: readonly Windowed[],
): Promise<void> => {
  const { db } = services;
  const planned = outside.flatMap(({ instanceId, opensAtMs, closesAtMs }) =>
    opensAtMs === undefined || closesAtMs === undefined
      ? []
      : [{ instanceId, notBeforeMs: opensAtMs, notAfterMs: closesAtMs }],
  );
  const there = lying.map(({ id }) => id);
  const nowMs = services.clock.now();
  const deadlineMs = nowMs + eventWindowPatienceMs - eventDeadlineMarginMs - waitedMs;
  await planMoves(db, { workflowId, planned, there, nowMs, deadlineMs });
  const [first] = outside;
  if (first === undefined) return;
  const more = outside.length === 1 ? '' : `, and ${outside.length - 1} more`;
  await db.query('update hosts set phase_reason = $3 where id = $1 and rebuild_id = $2', [
    ...[hostId, workflowId, `${waitWords(first)}${more}`],
  ]);
};

/** Whether it has gone on for too long; windows of VMs that are still there make it longer. */
const isOver = async <I, R>(
  { services, waitedMs, workflowId }: Context<I, R>,
  busy: readonly Lying[],
  ignoreWindows: boolean,
): Promise<boolean> => {
  if (waitedMs <= drainPatienceMs) return false;
  if (ignoreWindows || waitedMs > eventWindowPatienceMs) return true;
  return (await movesAllowed(services, workflowId, idsOf(busy))).size === 0;
};

/** Until the first window opens, or may have been changed. */
const lookAgain = ({ clock }: CellServices, outside: readonly Windowed[]): Wait => {
  const opens = outside.flatMap(({ opensAtMs }) => opensAtMs ?? []);
  const leftMs = Math.min(eventWindowLookAgainMs, ...opens.map((atMs) => atMs - clock.now()));
  return sleepFor(Math.max(drainLookAgainMs, leftMs));
};

/** What is told of VMs that did not leave. */
const whyTheyStay = (
  services: CellServices,
  hostId: string,
  busy: readonly Lying[],
  outside: readonly Windowed[],
): string => {
  if (outside.length === 0) return `${busy.map(({ id }) => id).join(', ')} did not leave in time`;
  const words = outside.map(waitWords).join('; ');
  services.log.error(
    { alarm: 'drain-outside-windows', host: hostId, reason: words },
    'a host was not emptied: its VMs have event windows that were not enough. pando host drain --ignore-windows moves them all the same',
  );
  return words;
};

export interface EmptyOptions {
  /** VMs are moved also outside of the event windows that their accounts have set. */
  readonly ignoreWindows?: boolean | undefined;
  /** A window that closes before all have left ends it: the host is wanted elsewhere, and is no use half empty. */
  readonly whileOpen?: boolean | undefined;
}

/** Waits until nothing is left but what cannot be moved. @throws PandoError where VMs stay for want of room or patience */
export const emptyHost = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
  { ignoreWindows = false, whileOpen = false }: EmptyOptions = {},
): Promise<Emptied | Wait> => {
  const { services } = context;
  const lying = await lyingOn(services, hostId);
  const left = lying.filter(isLeft).map(({ id }) => `${id} is stopped, and has its disk there`);
  const busy = lying.filter((each) => !isLeft(each));
  if (busy.length === 0) return { left };
  const { begun, without, outside } = await moveSome(context, busy, ignoreWindows);
  await noteWaits(context, hostId, lying, outside);
  const still = begun === 0 && busy.every(({ moving, workflow_id: id }) => !moving && id === null);
  // While something still moves, room may come.
  if (without !== undefined && still) return { left: [...left, without] };
  if (whileOpen && still && outside.length > 0) return { left: [...left, ...outside.map(waitWords)] };
  if (await isOver(context, busy, ignoreWindows))
    return { left: [...left, without ?? whyTheyStay(services, hostId, busy, outside)] };
  return still && outside.length > 0 ? lookAgain(services, outside) : sleepFor(drainLookAgainMs);
};
