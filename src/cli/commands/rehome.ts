/** `pando host rehome HOST --to CELL`: an empty, drained host belongs to another cell from then on. */
import { withMovedHost } from '#lab/layout.ts';
import { hostIdOf, planOf, withCell } from '../operator.ts';
import { paint, print, UserError } from '../output.ts';
import { become, type CellOptions, changing } from './cell.ts';

const rehomeTimeoutMs = 30_000;

export async function rehomeHost(host: string, options: CellOptions & { to: string }): Promise<void> {
  await changing(options, async (directory, run) => {
    const plan = planOf(run);
    const hostId = hostIdOf(run, host);
    const planned = plan.hosts.find((each) => each.hostId === hostId);
    const to = plan.cells.find(({ name, number }) => [name, String(number)].includes(options.to));
    const from = plan.cells.find(({ number }) => number === planned?.cell);
    if (to === undefined || planned === undefined || from === undefined)
      throw new UserError(
        `There is no cell ${options.to}. There are: ${plan.cells.map(({ name }) => name).join(' ')}`,
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
