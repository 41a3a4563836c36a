/** The commands about cells and the hosts that move between them. */
import { type Command, Option } from 'commander';

interface Parts {
  readonly directoryOption: () => Option;
  readonly wholeNumber: (min: number, max: number) => (text: string) => number;
}

const cellHelp = `
A cell is a store, processors and hosts of its own; what happens to it is felt in no other. Its limits are fixed: when they near, the
next one is made (here by the supervisor, elsewhere an alarm names the command). An account launches in a few of them only.
  pando cell list                          states, hosts and VMs beside their limits
  pando cell create --zone pando-1b        a new one; without --zone where there are fewest
  pando cell create --postgres URL         its store on a server that somebody else runs
  pando cell create --canary               a new one that takes every change first
  pando cell drain cell-b                  no new launches; its VMs run on
  pando host rehome host-3 --to cell-a     its hosts move, one after the other
  pando cell retire cell-b                 ends it for ever, once it is empty by its own word`;

export const addCellCommands = (program: Command, { directoryOption, wholeNumber }: Parts): void => {
  const cell = program
    .command('cell')
    .description('the cells of the region: shown, made, drained, retired')
    .addHelpText('after', cellHelp);
  cell
    .command('list')
    .description('every cell, with what it has beside its limits')
    .addOption(directoryOption())
    .option('--json', 'for programs', false)
    .action(async (options) => (await import('./commands/cell.ts')).listCells(options));
  cell
    .command('create')
    .description('a new cell, with its own processors and database')
    .addOption(directoryOption())
    .option('--zone <zone>', 'the zone that it is of; default: the one with fewest cells')
    .option('--hosts <n>', 'how many hosts of its own this machine makes for it', wholeNumber(0, 20), 1)
    .option(
      '--postgres <url>',
      'a PostgreSQL (15 or newer) that has its store, instead of a server of its own',
    )
    .option('--canary', 'it takes every change first')
    .addOption(new Option('--auto', 'only where every active cell of a zone is nearly full'))
    .action(async (options) => (await import('./commands/cell.ts')).createCell(options));
  cell
    .command('set <cell>')
    .description('marks a cell')
    .addOption(directoryOption())
    .option('--canary', 'it takes every change first')
    .option('--no-canary', 'it does not')
    .action(async (name, options) => (await import('./commands/cell.ts')).setCell(name, options));
  cell
    .command('drain <cell>')
    .description('no new launches in a cell; its VMs run on')
    .addOption(directoryOption())
    .option('--undo', 'it takes launches again', false)
    .action(async (name, options) => (await import('./commands/cell.ts')).drainCell(name, options));
  cell
    .command('retire <cell>')
    .description('ends an empty cell for ever')
    .addOption(directoryOption())
    .action(async (name, options) => (await import('./commands/cell.ts')).retireCell(name, options));
};
