/** `pando workflow …`, as the program offers it. */
import { type Command, Option } from 'commander';
import type { CommandParts } from './hostCommands.ts';

const workflowHelp = `
Everything that takes steps (a launch, a stop, a migration) is a workflow: a row in its cell's database.
  running, undoing   a processor is at it
  waiting            it waits as a row, for what WAITS FOR says: a host that is away, a signal, a time
  stuck              it failed for good and cannot be undone: it needs you (show, then retry)
  done, undone       it has ended; kept for an hour
A "!" marks what is stuck, or has stood at one step for longer than it should.

Examples:
  pando workflow list                        all that have not ended, those that need you first
  pando workflow list --state stuck          only what needs you
  pando workflow list --subject i-0010123456789abcd
  pando workflow show wf-0010123456789abcd   its steps with their times, what it waits for, its last error
  pando workflow retry wf-0010123456789abcd  once the cause is gone
  pando workflow cancel wf-0010123456789abcd stops it before its next step and undoes it
  pando logs --request wf-0010123456789abcd  what the processes said of it`;

const statesOption = (): Option =>
  new Option('--state <state...>', 'only these states').choices([
    'running',
    'undoing',
    'waiting',
    'stuck',
    'done',
    'undone',
  ]);

export const addWorkflowCommands = (
  program: Command,
  { directoryOption, wholeNumber }: CommandParts,
): void => {
  const workflow = program
    .command('workflow')
    .description('what the cells are doing: what runs, waits, or is stuck')
    .addHelpText('after', workflowHelp);
  workflow
    .command('list')
    .description('workflows that have not ended: stuck and overdue ones first, then the oldest')
    .addOption(directoryOption())
    .option('--cell <n>', 'only this cell', wholeNumber(1, 8))
    .addOption(statesOption())
    .option(
      '--kind <kind>',
      'only this kind: launch, start, stop, reboot, terminate, recover, migrate, drain, rebuild',
    )
    .option('--subject <id>', 'only of this instance (or other subject)')
    .option('--all', 'those too that have ended', false)
    .option('-n, --limit <n>', 'at most so many of each cell', wholeNumber(1, 1_000), 200)
    .option('--json', 'for programs', false)
    .action(async (options) => (await import('./commands/workflow.ts')).listWorkflows(options));
  workflow
    .command('show <workflow>')
    .description('one workflow: its steps with times and attempts, what it waits for, its last error')
    .addOption(directoryOption())
    .option('--json', 'for programs', false)
    .action(async (id, options) => (await import('./commands/workflow.ts')).showWorkflow(id, options));
  workflow
    .command('retry <workflow>')
    .description('tries a stuck or waiting workflow again now')
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/workflow.ts')).retryWorkflow(id, options));
  workflow
    .command('cancel <workflow>')
    .description('stops a workflow before its next step and undoes it; refused where it can only go forward')
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/workflow.ts')).cancelWorkflow(id, options));
};
