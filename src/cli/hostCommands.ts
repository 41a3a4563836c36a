/** `pando host …` and `pando pool …`, as the program offers them. */
import type { Command, Option } from 'commander';

export interface CommandParts {
  directoryOption(): Option;
  wholeNumber(min: number, max: number): (text: string) => number;
}

const hostHelp = `
A rebuild makes a host fit for its pool, or for another one: it is emptied by live migration, proved to be empty, shut off from the
network, power-cycled, checked, tested, scrubbed of everything a tenant left, laid out anew, and shown fit by a VM of its own. Steps
that evidence may stand in for are left out; emptiness, scrub and validation never are. What fails is tried in full, then with
thorough diagnostics; then the host is out of service, and "pando host show" tells why.
Accounts may set event windows: hours of the week in which their VMs may be moved. A drain waits for them, eight days at most, and
"pando host show" tells for which; "pando workflow cancel" ends it. --ignore-windows waits for none: for a host that must be left now.
A stopped instance has its disk on its host: such a host is not empty, and is given back as it was.
  pando host list
  pando host show host-2                         what is on record of it, and what a rebuild would do now
  pando host drain host-2                        its VMs go elsewhere; --undo takes VMs again
  pando host drain host-2 --ignore-windows       also those that should move in their owners' event windows alone
  pando host rehome host-2 --to cell-b           drained and empty, it is of another cell from then on
  pando host rebuild host-2 --dry-run            the strategy, and nothing else
  pando host rebuild host-2 --pool big           for another pool
  pando host rebuild host-2 --full               every step, whatever is on record`;

const poolHelp = `
A pool is the hosts that are cut for one instance type. Marks count hosts: under its low mark a pool asks for hosts until it has its
target; above its target it gives. Launches that find no slot, and requests that wait, ask too. A host changes its pool by a
rebuild (pando host rebuild --help), a few at a time, and rests in between.
  pando pool list
  pando pool set small --type p1.nano --low 2 --target 4 --hosts host-1,host-2,host-3,host-4
  pando pool set big --type p1.xlarge --low 0 --target 1 --only p1.xlarge,p1.large
  pando pool drop big                            its hosts are of no pool then: anybody's`;

const listOf = (text: string): string[] => text.split(',').filter((part) => part !== '');

export const addHostCommands = (program: Command, { directoryOption, wholeNumber }: CommandParts): void => {
  const host = program
    .command('host')
    .description('hosts: emptied, rebuilt, taken back')
    .addHelpText('after', hostHelp);
  host
    .command('list')
    .description('hosts with their pools, and what is done with them')
    .addOption(directoryOption())
    .option('--json', 'for programs', false)
    .action(async (options) => (await import('./commands/host.ts')).listHosts(options));
  host
    .command('show <host>')
    .description('what is on record of a host, and what a rebuild of it would do now')
    .addOption(directoryOption())
    .option('--pool <pool>', 'as for this pool')
    .option('--json', 'for programs', false)
    .action(async (name, options) => (await import('./commands/host.ts')).showHost(name, options));
  host
    .command('drain <host>')
    .description('moves its VMs away, live, and keeps new ones from it')
    .addOption(directoryOption())
    .option('--undo', 'takes VMs again', false)
    .option(
      '--ignore-windows',
      'moves VMs also outside of the event windows that their owners have set',
      false,
    )
    .action(async (name, options) => (await import('./commands/host.ts')).drainHost(name, options));
  host
    .command('rehome <host>')
    .description('gives a drained, empty host to another cell')
    .addOption(directoryOption())
    .requiredOption('--to <cell>', 'the cell that it is of then, for example cell-b')
    .action(async (name, options) => (await import('./commands/rehome.ts')).rehomeHost(name, options));
  host
    .command('rebuild <host>')
    .description('empties it and rebuilds it, in as few steps as evidence allows')
    .addOption(directoryOption())
    .option('--pool <pool>', 'for this pool; default: the one that it is in')
    .option('--full', 'every step, whatever is on record', false)
    .option('--diagnose', 'every step, with the thorough diagnostics', false)
    .option(
      '--ignore-windows',
      'moves VMs also outside of the event windows that their owners have set',
      false,
    )
    .option('--dry-run', 'show the strategy and do nothing', false)
    .option('--no-wait', 'do not wait for its end')
    .action(async (name, options) => (await import('./commands/host.ts')).rebuildHost(name, options));

  const pool = program
    .command('pool')
    .description('pools: which hosts are cut for which instance type')
    .addHelpText('after', poolHelp);
  pool
    .command('list')
    .description('pools with their marks, what they have and lack, and what is about to change')
    .addOption(directoryOption())
    .option('--json', 'for programs', false)
    .action(async (options) => (await import('./commands/pool.ts')).listPools(options));
  pool
    .command('set <name>')
    .description('makes a pool or changes it')
    .addOption(directoryOption())
    .requiredOption('--type <type>', 'the instance type that it is for')
    .requiredOption('--low <hosts>', 'under so many it asks for hosts', wholeNumber(0, 10_000))
    .requiredOption('--target <hosts>', 'and has enough with so many', wholeNumber(0, 10_000))
    .option('--only <types>', 'its hosts give slots of these types alone, with commas between', listOf)
    .option('--class <class>', 'only hosts of this class join it (pando host show)')
    .option('--vcpus-over <factor>', 'vCPUs that are promised for each that there is', Number)
    .option('--memory-over <factor>', 'memory that is promised for what there is', Number)
    .option('--hosts <hosts>', 'of no pool yet: they join as they are', listOf)
    .option('--cell <n>', 'in this cell alone; default: in all', wholeNumber(1, 4_095))
    .action(async (name, options) => (await import('./commands/pool.ts')).setPool(name, options));
  pool
    .command('drop <name>')
    .description('ends a pool; its hosts are of none then')
    .addOption(directoryOption())
    .action(async (name, options) => (await import('./commands/pool.ts')).dropPool(name, options));
};
