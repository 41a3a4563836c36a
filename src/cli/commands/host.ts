/** `pando host`: hosts are drained, and move to another cell. */
import { withMovedHost } from '#lab/layout.ts';
import { hostIdOf, hostNameOf, planOf, withCell } from '../operator.ts';
import { paint, print, UserError } from '../output.ts';
import { openRun } from '../region.ts';
import { become, type CellOptions, changing } from './cell.ts';

const rehomeTimeoutMs = 30_000;

/** `pando host drain`: no new VMs; those that it has stay. */
export async function drainHost(host: string, options: CellOptions & { undo: boolean }): Promise<void> {
  const region = openRun(options);
  const hostId = hostIdOf(region.run, host);
  const planned = planOf(region.run).hosts.find((each) => each.hostId === hostId);
  const state = options.undo ? 'active' : 'draining';
  await withCell(region, planned?.cell ?? 0, (cell) => cell.call('operator.setHost', { hostId, state }));
  const name = hostNameOf(region.run, hostId);
  print(
    options.undo ? `${name} takes new VMs again.` : `${name} takes no new VMs. Those that it has run on.`,
  );
}

/** `pando host rehome HOST --to CELL`: an empty, drained host belongs to another cell from then on. */
export async function rehomeHost(host: string, options: CellOptions & { to: string }): Promise<void> {
  await changing(options, async (directory, run) => {
    const plan = planOf(run);
    const hostId = hostIdOf(run, host);
    const planned = plan.hosts.find((each) => each.hostId === hostId);
    const to = plan.cells.find(({ name, number }) => [name, String(number)].includes(options.to));
    const from = plan.cells.find(({ number }) => number === planned?.cell);
    if (to === undefined || planned === undefined || from === undefined)
      throw new UserError(
        `There is no cell ${options.to}. There are: ${plan.cells.map((c) => c.name).join(' ')}`,
      );
    if (to.number === from.number) return print(`${planned.name} is of ${to.name} already.`);
    const target = { cellId: to.name, cellNumber: to.number };
    await withCell({ directory, run }, from.number, (cell) =>
      cell.call('operator.rehomeHost', { hostId, to: target }, { timeoutMs: rehomeTimeoutMs }),
    );
    // Its own disk says so by now: what follows only helps it to find its new cell.
    const moved = withMovedHost(run, planned.number, to.number);
    await become(directory, moved, `${planned.name} joins ${to.name}`);
    print(`${paint('ok', '✔')} ${planned.name} is of ${to.name}, and takes VMs there.`);
  });
}
