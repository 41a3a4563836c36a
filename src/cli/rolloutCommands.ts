/** The commands `pando policy`, `pando rollout` and `pando operator`. */
import { type Command, Option } from 'commander';
import { addOperatorCommands } from './operatorCommands.ts';

interface Options {
  directoryOption(): Option;
  wholeNumber(min: number, max: number): (text: string) => number;
}

export const addRolloutCommands = (program: Command, options: Options): void => {
  addPolicyCommands(program, options);
  addRolloutCommand(program, options);
  addProgramCommands(program, options);
  addOperatorCommands(program, options);
};

const addProgramCommands = (program: Command, { directoryOption }: Options): void => {
  const versions = program
    .command('program')
    .description('versions of the card’s program, kept so that a rollout may make one the cards’ own')
    .addHelpText(
      'after',
      `
A version is named by the digest of its code. A rollout makes each card begin anew as it, wave by wave; packets flow meanwhile. A version that
ends, hangs or is not heard is left for the one before it, and the rollout goes back.
  pando program add ../pando-next                   keeps the code of a directory (a git worktree), prints its version
  pando program list
  pando rollout start --class program --set cardProgram=0123456789abcdef --watch
  pando rollout start --class program --set cardProgram=      back to the machine’s own`,
    );
  versions
    .command('add <directory>')
    .description('keeps the code of this directory as a version')
    .addOption(directoryOption())
    .action(async (tree, options) => (await import('./commands/program.ts')).addProgram(tree, options));
  versions
    .command('list')
    .description('the versions that are kept')
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/program.ts')).listPrograms(options));
};

const addPolicyCommands = (program: Command, { directoryOption, wholeNumber }: Options): void => {
  const policy = program
    .command('policy')
    .description('how changes spread over the devices: waves, bake time, health, what happens on failure')
    .addHelpText(
      'after',
      `
A policy is stored before and apart from any change, and has versions; a rollout keeps the version that it began with.
Its waves take devices by name, by percentage, by cell, by zone, the canary cell, or the rest; the next wave begins when the one before
is complete, has baked and was measured healthy. Without a policy of yours a change goes by the default of its class.
  pando policy create --example > careful.json       a policy to begin with
  pando policy create careful --file careful.json    stores it (again: its next version)
  pando policy list
  pando policy show careful`,
    );
  policy
    .command('create [name]')
    .description('stores a policy; under a name that there is, its next version')
    .option('--file <file>', 'JSON of the policy; - for stdin')
    .option('--example', 'prints a policy to begin with', false)
    .addOption(directoryOption())
    .action(async (name, options) => (await import('./commands/policy.ts')).createPolicy(name, options));
  policy
    .command('list')
    .description('the newest version of each policy, and the defaults')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/policy.ts')).listPolicies(options));
  policy
    .command('show <name>')
    .description('one policy, in its newest version unless another is named')
    .option('--version <n>', 'this version', wholeNumber(1, 1_000_000))
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (name, options) => (await import('./commands/policy.ts')).showPolicy(name, options));
};

const addRolloutCommand = (program: Command, { directoryOption, wholeNumber }: Options): void => {
  const rollout = program
    .command('rollout')
    .description('changes of cards and gateways in waves: start, watch, pause, abort, approve')
    .addHelpText(
      'after',
      `
A rollout takes every device of its policy from a first state to a second one. A device that has neither refuses (drift). A device that
hears nothing after it applied goes back by itself. When a wave is unhealthy, every device that was touched goes back.
  pando rollout start --set mtu=1400 --dry-run      what would change, in which waves, and in which kernel: rules, routes, entries
  pando rollout start --set mtu=1400 --policy careful --watch
  pando rollout diff ro-0123456789abcdef0           what it would change yet in the kernels of its devices
  pando rollout list                                those under way; --all: also those that have ended
  pando rollout show ro-0123456789abcdef0           waves, devices in trouble, what it waits for
  pando rollout watch ro-0123456789abcdef0          the same, live
  pando rollout approve ro-0123456789abcdef0        lets the wave begin that waits for it
  pando rollout pause ro-0123456789abcdef0          nothing new begins; resume goes on
  pando rollout abort ro-0123456789abcdef0          every device that was touched goes back
  pando rollout audit ro-0123456789abcdef0          who did what to which device, and when

What tenants change of their VPCs goes to all devices at once. That is recorded too, and can be taken back:
  pando rollout audit --vpc vpc-0123456789abcdef0   who changed what, from which content to which, and when every device had it
  pando rollout versions security-group/sg-0123456789abcdef0
  pando rollout restore security-group/sg-0123456789abcdef0 --version 12 --dry-run`,
    );
  rollout
    .command('start')
    .description('begins a change of the fleet’s settings')
    .option('--set <member=value...>', 'members to change: mtu=1400; an empty value takes the member away')
    .option('--file <file>', 'JSON of the whole settings; - for stdin')
    .option('--policy <name>', 'the policy; default: that of the class')
    .option('--policy-version <n>', 'this version of it; default: the newest', wholeNumber(1, 1_000_000))
    .addOption(
      new Option('--class <class>', 'the class of the change')
        .choices(['urgent', 'fleet', 'program'])
        .default('fleet'),
    )
    .option(
      '--from <version>',
      'the version that devices must have; default: the one they should have now',
      wholeNumber(1, 1_000_000),
    )
    .option(
      '--token <token>',
      'a token of yours: the same token begins one rollout, however often it is sent',
    )
    .option('--dry-run', 'shows what would be done', false)
    .option('--watch', 'follows it to its end', false)
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/rollout.ts')).startRollout(options));
  rollout
    .command('list')
    .description('rollouts under way')
    .option('--all', 'those too that have ended', false)
    .option('-n, --limit <n>', 'at most so many', wholeNumber(1, 500), 50)
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/rollout.ts')).listRollouts(options));
  rollout
    .command('show <rollout>')
    .description('one rollout: its change, its waves, devices in trouble, what it waits for')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/rollout.ts')).showRollout(id, options));
  rollout
    .command('diff <rollout>')
    .description('what it would change yet in the kernels of its devices: rules, routes, addresses, entries')
    .option('--device <device>', 'of this device alone, card/198.18.1.11')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/rollout.ts')).showDiff(id, options));
  rollout
    .command('watch <rollout>')
    .description('the same, live, until it has ended; exits with 1 unless it is done')
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/rollout.ts')).watchRollout(id, options));
  rollout
    .command('audit [rollout]')
    .description(
      'the record of everything that was done: who, what, from, to, when; of a rollout, or of a VPC',
    )
    .option('--vpc <vpc>', 'the calls that changed this VPC, the newest first')
    .option('--object <id>', 'of the VPC: those that changed this object alone, sg-…, subnet-…')
    .option('-n, --limit <n>', 'of the VPC: at most so many', wholeNumber(1, 500), 50)
    .option('--json', 'a JSON object a line', false)
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/vpcChanges.ts')).showAuditOf(id, options));
  rollout
    .command('versions <object>')
    .description('the versions of an object of a tenant that are kept: security-group/sg-…')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (object, options) =>
      (await import('./commands/vpcChanges.ts')).showVersions(object, options),
    );
  rollout
    .command('restore <object>')
    .description(
      'puts a former version of a security group, a subnet’s routes or a VPC’s settings back, as its owner could by single calls',
    )
    .requiredOption(
      '--version <n>',
      'the version, of `pando rollout versions`',
      wholeNumber(1, 2_147_483_647),
    )
    .option('--dry-run', 'shows what would go and come', false)
    .addOption(directoryOption())
    .action(async (object, options) => (await import('./commands/vpcChanges.ts')).restore(object, options));
  const rolloutActions = {
    pause: 'nothing new begins; devices that have applied stay as they are',
    resume: 'goes on; in a halted rollout, accepts what has failed so far',
    abort: 'takes every device that was touched back to the first state',
    approve: 'lets the wave begin that waits for an approval of yours',
  } as const;
  for (const [action, description] of Object.entries(rolloutActions) as [
    keyof typeof rolloutActions,
    string,
  ][])
    rollout
      .command(`${action} <rollout>`)
      .description(description)
      .addOption(directoryOption())
      .action(async (id, options) =>
        (await import('./commands/rollout.ts')).controlRollout(id, action, options),
      );
};
