/** A host's VMs move away, a few at a time; whoever looks again after a crash finds what is left of them. */
import { PandoError } from '#contracts/errors.ts';
import { drainLookAgainMs, drainPatienceMs, drainsPerCellMax, drainsPerHostMax } from '../../limits.ts';
import { beginMove } from '../../moves.ts';
import type { CellServices } from '../../services.ts';
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
}

/** Begins as many migrations as may be under way. */
const moveSome = async (services: CellServices, lying: readonly Lying[]): Promise<Begun> => {
  const ready = lying.filter(
    ({ state, workflow_id: id, moving }) => state === 'running' && id === null && !moving,
  );
  const under = lying.filter(({ moving }) => moving).length;
  let room = Math.min(drainsPerHostMax - under, drainsPerCellMax - (await movingInCell(services)));
  let without: string | undefined;
  let begun = 0;
  for (const { id } of ready) {
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
  return { begun, ...(without === undefined ? {} : { without }) };
};

/** Waits until nothing is left but what cannot be moved. @throws PandoError where VMs stay for want of room or patience */
export const emptyHost = async <I, R>(
  { services, waitedMs }: StepContext<I, R, CellServices>,
  hostId: string,
): Promise<Emptied | Wait> => {
  const lying = await lyingOn(services, hostId);
  const left = lying.filter(isLeft).map(({ id }) => `${id} is stopped, and has its disk there`);
  const busy = lying.filter((each) => !isLeft(each));
  if (busy.length === 0) return { left };
  const { begun, without } = await moveSome(services, busy);
  // While something still moves, room may come.
  const idle = begun === 0 && busy.every(({ moving, workflow_id: id }) => !moving && id === null);
  if (waitedMs > drainPatienceMs || (without !== undefined && idle))
    return { left: [...left, without ?? `${busy.map(({ id }) => id).join(', ')} did not leave in time`] };
  return sleepFor(drainLookAgainMs);
};
