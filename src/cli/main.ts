/** The `pando` command. Each command's module is loaded when it is used, so that `--help` is quick. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { codeDirectory } from '#node/directory.ts';
import { addCellCommands } from './cellCommands.ts';
import { addHostCommands } from './hostCommands.ts';
import { addRequestCommands } from './requestCommands.ts';
import { addRolloutCommands } from './rolloutCommands.ts';
import { directoryDefault } from './simulated/directory.ts';
import { addWorkflowCommands } from './workflowCommands.ts';

const examples = `
Examples:
  pando doctor                        what this machine lacks, and the fix
  pando up                            a whole region on this machine, with a first VM
  pando aws ec2 describe-instances    the AWS CLI, pointed at this region
  pando ssh i-0010123456789abcd       a shell in a VM
  pando migrate i-0010123456789abcd   moves a running VM to another host, live
  pando workflow list                 what the cells are doing, and what is stuck
  pando capacity                      how many more VMs of each type fit, and where
  pando cell list                     the cells, and what they have beside their limits
  pando top                           what the region does now
  pando logs --follow cell-a-1        what one process says
  pando down                          ends everything and leaves nothing behind`;

const simulatedHelp = `
Simulated, for those who test scripts, Terraform or SDK code against EC2: the API, the workflows and the stores are those of a
real region; hosts and VMs are not. Instances go through the same states with plausible timing (--instant: at once), quotas are
generous, three zones stand for three cells. What is not there: guests, so no ssh, no network traffic, and no metadata service
(169.254.169.254 answers nobody). One process and a PostgreSQL, on loopback alone, with the rights of whoever starts it.
State is in memory and ends with pando down; --persist keeps it in the directory. With --any-region one and the same region
answers under the name that a request is signed for, and under all of them has the same resources.

  pando up --simulated --any-region --instant
  . ~/.local/state/pando-simulated/env.sh      then aws, boto3, Terraform: all reach it
  pando down`;

const defaultDirectory = '/var/lib/pando';

const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`It is a whole number from ${min} to ${max}.`);
    return value;
  };

const { version } = JSON.parse(readFileSync(join(codeDirectory, 'package.json'), 'utf8')) as {
  version: string;
};
const program = new Command('pando')
  .description('A cloud that you own: the EC2 API in front, real virtual machines behind it.')
  .version(version)
  .addHelpText('after', examples)
  .showHelpAfterError('(pando --help shows the commands)')
  .enablePositionalOptions();

const directoryOption = (): Option =>
  new Option('--dir <dir>', 'where the region keeps its files')
    .default(directoryDefault(defaultDirectory))
    .env('PANDO_DIR');

program
  .command('doctor')
  .description('says what this machine lacks, and how to get it')
  .option('--fix', 'install what is missing', false)
  .action(async (options) => (await import('./commands/doctor.ts')).doctor(options));

program
  .command('up')
  .description('starts a region on this machine; run again, it restores what is missing')
  .addOption(
    new Option(
      '--dir <dir>',
      `where the region keeps its files (default: ${defaultDirectory}; simulated: ~/.local/state/pando-simulated)`,
    ).env('PANDO_DIR'),
  )
  .option('--cells <n>', 'how many cells (first start only)', wholeNumber(1, 8))
  .option(
    '--zones <n>',
    'how many zones the cells are dealt out over; default: each has its own (first start only)',
    wholeNumber(1, 8),
  )
  .option('--hosts-per-cell <n>', 'how many hosts in each cell (first start only)', wholeNumber(1, 20))
  .option(
    '--routers <n>',
    'how many routers share the API’s port; one that dies takes only the calls that it was answering along (stays set; default: 1)',
    wholeNumber(1, 8),
  )
  .option(
    '--regions <n>',
    'how many processes serve the region’s own objects from one store; one that dies takes only the calls that it was answering along (stays set; default: 1)',
    wholeNumber(1, 4),
  )
  .option('--port <port>', 'the API’s port on 127.0.0.1 (first start only)', wholeNumber(1, 65_535))
  .addOption(
    new Option(
      '--postgres <url>',
      'a PostgreSQL (15 or newer) to keep everything in, instead of servers of its own (first start only)',
    ).env('PANDO_POSTGRES'),
  )
  .addOption(
    new Option(
      '--otlp <url>',
      'an OpenTelemetry collector to send spans of requests to, by OTLP over HTTP: http://127.0.0.1:4318 (stays set; "none" ends it)',
    ).env('OTEL_EXPORTER_OTLP_ENDPOINT'),
  )
  .option(
    '--webhook-range <cidr...>',
    'ranges that webhooks may be sent to beside public addresses, such as 203.0.113.0/24 (stays set; "none" ends it)',
  )
  .option('--no-first-vm', 'do not launch a first VM')
  .option('--simulated', 'the API over simulated hosts: no root, no VMs, up in seconds (see below)')
  .option('--region <name>', 'simulated: the region’s name (default: us-east-1)')
  .option('--any-region', 'simulated: requests may be signed for any region')
  .option('--instant', 'simulated: instances change their states at once')
  .option('--persist', 'simulated: the state is kept in the directory, also over down')
  .option('--foreground', 'simulated: run until Ctrl-C')
  .addHelpText('after', simulatedHelp)
  .action(async ({ dir, ...options }) => {
    if (options.simulated === true && options.zones !== undefined)
      program.error('error: a simulated region has a zone for each cell');
    if (options.simulated === true && options.routers !== undefined)
      program.error('error: a simulated region has one router');
    if (options.simulated === true && options.regions !== undefined)
      program.error('error: a simulated region has one process');
    if (options.simulated === true)
      return (await import('./simulated/up.ts')).upSimulated({ ...options, dir });
    const alone = ['region', 'anyRegion', 'instant', 'persist', 'foreground'].find(
      (name) => options[name] !== undefined,
    );
    if (alone !== undefined)
      program.error('error: that option is one of --simulated alone (pando up --help)');
    return (await import('./commands/up.ts')).up({ ...options, dir: dir ?? defaultDirectory });
  });

program
  .command('down')
  .description('ends the region and removes everything of it')
  .addOption(directoryOption())
  .option(
    '--purge',
    'remove what regions share too: cached images and downloads, apt’s backports source',
    false,
  )
  .action(async (options) => (await import('./commands/down.ts')).down(options));

program
  .command('status')
  .description('processes, cells, hosts, VMs')
  .addOption(directoryOption())
  .option('--json', 'for programs', false)
  .action(async (options) => (await import('./commands/status.ts')).status(options));

program
  .command('top')
  .description('what the region does now: requests, launches, workflows, hosts, migrations, processes')
  .addOption(directoryOption())
  .option('--once', 'one look of a second, then end', false)
  .option('--json', 'for programs: one object, or with no --once one line a second', false)
  .addHelpText(
    'after',
    `
Rates are of the last second. The figures are those of the processes' metrics, which a Prometheus on this machine finds at
http://127.0.0.1:7400/metrics (7401 for the second region, and so on); docs/grafana/pando.json is a dashboard of them.
Examples:
  pando top                 live; q ends it
  pando top --once --json   for a script`,
  )
  .action(async (options) => (await import('./commands/top.ts')).top(options));

program
  .command('logs [process]')
  .description('what the processes say')
  .addOption(directoryOption())
  .option('-f, --follow', 'go on as they speak', false)
  .option('--request <id>', 'only lines that name this API request, instance or workflow')
  .option('-n, --lines <n>', 'how many of the last lines', wholeNumber(0, 100_000), 50)
  .action(async (name, options) => (await import('./commands/logs.ts')).logs(name, options));

program
  .command('ssh <instance> [command...]')
  .description('a shell (or one command) in a VM')
  .addOption(directoryOption())
  .option('--user <user>', 'the user inside the VM', 'ec2-user')
  .passThroughOptions()
  .action(async (instance, command, options) =>
    (await import('./commands/ssh.ts')).ssh(instance, command, options),
  );

program
  .command('console <instance>')
  .description('a VM’s serial console')
  .addOption(directoryOption())
  .option('-f, --follow', 'go on as it speaks', false)
  .action(async (instance, options) =>
    (await import('./commands/console.ts')).showConsole(instance, options),
  );

program
  .command('migrate <instance>')
  .description('moves a running VM to another host of its cell, live')
  .addOption(directoryOption())
  .option('--to <host>', 'the host to move to; default: chosen by capacity')
  .action(async (instance, options) => (await import('./commands/migrate.ts')).migrate(instance, options));

const optionSources = ['default', 'env', 'cli'];
const rankOf = (command: Command, name: string): number =>
  optionSources.indexOf(command.getOptionValueSource(name) ?? '');

/** Gives a command what was written at the one above it: it counts before the environment, and that before any default. */
const withParent = (command: Command): Command => {
  const { parent } = command;
  for (const [name, value] of Object.entries(parent?.opts() ?? {}))
    if (parent !== null && rankOf(parent, name) > rankOf(command, name))
      command.setOptionValueWithSource(name, value, parent.getOptionValueSource(name));
  return command;
};

const capacity = program
  .command('capacity')
  .description('what fits where: how many more VMs of each type, and the slots of each host')
  .addHelpText(
    'after',
    `
A slot is room for one VM of a type on one host. The best mix gives each type slots by its share of what was asked for lately;
instead of them, bigger ones can be made. "biggest first" is how many of each would fit if the biggest types came first.
  pando capacity                              all types of the catalogue
  pando capacity --type custom.500m.384       how many more of one type, also of a custom size
  pando capacity explain --type p1.xlarge     why it fits nowhere: the nearest hosts, and what each lacks
  pando capacity explain --type p1.small --group pg-0123456789abcdef0   which hosts its constraint excludes
  pando capacity explain --type custom.1000m.1024+avx2                 hosts whose processors have AVX2
  pando capacity check                        whether counters, claims and instances agree`,
  )
  .addOption(directoryOption())
  .option('--type <type>', 'only this instance type')
  .option('--disk <GiB>', 'size of each VM’s root disk', wholeNumber(1, 1_000_000))
  .option('--hosts <n>', 'how many hosts are shown, those with most room first', wholeNumber(0, 1_000))
  .option('--json', 'for programs', false)
  .action(async (options) => (await import('./commands/capacity.ts')).showCapacity(options));
capacity
  .command('explain')
  .description('where a type fits, or why it fits nowhere')
  .addOption(directoryOption())
  .requiredOption('--type <type>', 'the instance type, for example p1.xlarge or custom.500m.384')
  .option('--disk <GiB>', 'size of the root disk', wholeNumber(1, 1_000_000))
  .option('--hosts <n>', 'how many hosts are shown, the nearest first', wholeNumber(1, 1_000))
  .option('--group <pg-id>', 'as one more member of this placement group')
  .option(
    '--partition <n>',
    'in this partition of the group; default: the one that is due',
    wholeNumber(1, 7),
  )
  .option('--account <id>', 'for this account: hosts dedicated to others are excluded')
  .option('--dedicated', 'on a host without VMs of other accounts')
  .option('--json', 'for programs', false)
  .action(async (_own, command) =>
    (await import('./commands/capacity.ts')).explainCapacity(withParent(command).opts()),
  );
capacity
  .command('check')
  .description('compares counters with claims, and claims with instances; puts counters right')
  .addOption(directoryOption())
  .option('--json', 'for programs', false)
  .action(async (_own, command) =>
    (await import('./commands/capacity.ts')).checkCapacity(withParent(command).opts()),
  );

addRequestCommands(program, { directoryOption, wholeNumber });

const vm = program
  .command('vm')
  .description('VMs that hosts have and no record accounts for: shown, adopted, removed')
  .addHelpText(
    'after',
    `
A host may have a VM that its cell has no record of: the cell's store lost its last seconds, or is a restored backup. Such a
VM runs on, in quarantine, until you decide; nothing removes it by itself.
  pando vm list --quarantined                 what there is, where, and why
  pando vm adopt i-0010123456789abcd          makes it an instance of its account again
  pando vm remove i-0010123456789abcd --yes   ends it and deletes its disk, for good`,
  );
vm.command('list')
  .description('the VMs of all hosts, or those in quarantine')
  .addOption(directoryOption())
  .option('--quarantined', 'only those that no record accounts for', false)
  .option('--json', 'for programs', false)
  .action(async (options) => (await import('./commands/vm.ts')).listVms(options));
vm.command('adopt <instance>')
  .description('makes a VM in quarantine an instance again, from what its host and the region know of it')
  .addOption(directoryOption())
  .option('--host <host>', 'the host that has it, where several do')
  .action(async (instance, options) => (await import('./commands/vm.ts')).adoptVm(instance, options));
vm.command('remove <instance>')
  .description('ends a VM in quarantine and deletes its disk')
  .addOption(directoryOption())
  .option('--host <host>', 'the host that has it, where several do')
  .option('--yes', 'I know that its disk cannot be brought back', false)
  .action(async (instance, options) => (await import('./commands/vm.ts')).removeVm(instance, options));

program
  .command('restart <process>')
  .description('ends one process of the region and starts it again; VMs go on')
  .addOption(directoryOption())
  .action(async (name, options) => (await import('./commands/restart.ts')).restart(name, options));

program
  .command('aws')
  .description('the AWS CLI, with this region’s endpoint and keys')
  .argument('[args...]', 'what the AWS CLI is given')
  .addOption(directoryOption())
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .action(async (args, options) => (await import('./commands/aws.ts')).aws(args, options));

program
  .command('identity-certificate')
  .description('the certificate that verifies the identity documents of instances (PEM)')
  .addOption(directoryOption())
  .addHelpText(
    'after',
    `
An instance reads its document and signatures from its metadata service, under latest/dynamic/instance-identity/.
Whoever is shown them verifies them with this certificate:
  pando identity-certificate > region.pem
  (echo '-----BEGIN PKCS7-----'; cat rsa2048; echo; echo '-----END PKCS7-----') > document.p7
  openssl smime -verify -in document.p7 -inform PEM -certfile region.pem -noverify`,
  )
  .action(async (options) =>
    (await import('./commands/identityCertificate.ts')).identityCertificate(options),
  );

const quota = program.command('quota').description('limits of an account, as EC2 has them');
quota
  .command('list <account>')
  .description('the quotas of an account: rules, security groups, routes')
  .addOption(directoryOption())
  .action(async (account, options) => (await import('./commands/quota.ts')).listQuotas(account, options));
quota
  .command('set <account> <quota> <value>')
  .description('sets a quota; the value `default` takes it back')
  .addOption(directoryOption())
  .action(async (account, name, value, options) =>
    (await import('./commands/quota.ts')).setQuota(account, name, value, options),
  );

const profile = program
  .command('profile')
  .description('instance profiles: what instances of an account may do to it')
  .addHelpText(
    'after',
    `
An instance that runs with a profile fetches temporary credentials of its account from its metadata service (every AWS SDK and the
aws command do so by themselves), each good for an hour and renewed before:
  pando profile create inventory --account 123456789012
  aws ec2 run-instances --iam-instance-profile Name=inventory ...
  aws ec2 describe-instances                                       (inside the instance, without any key)`,
  );
const ofAccount = '--account <account>';
profile
  .command('create <name>')
  .description('makes a profile, which is its own role')
  .requiredOption(ofAccount, 'the account that it is of, twelve digits')
  .option(
    '--policy <policy>',
    'read-only: what tells and changes nothing; full: all that the account may',
    'read-only',
  )
  .addOption(directoryOption())
  .action(async (name, options) => (await import('./commands/profile.ts')).createProfile(name, options));
profile
  .command('list')
  .description('the profiles of an account, or of all')
  .option(ofAccount, 'of this account alone')
  .addOption(directoryOption())
  .action(async (options) => (await import('./commands/profile.ts')).listProfiles(options));
profile
  .command('delete <name>')
  .description('deletes a profile: its credentials are refused within a minute; instances keep its name')
  .requiredOption(ofAccount, 'the account that it is of')
  .addOption(directoryOption())
  .action(async (name, options) => (await import('./commands/profile.ts')).deleteProfile(name, options));

addWorkflowCommands(program, { directoryOption, wholeNumber });
addRolloutCommands(program, { directoryOption, wholeNumber });
addHostCommands(program, { directoryOption, wholeNumber });
addCellCommands(program, { directoryOption, wholeNumber });

const image = program.command('image').description('guest images');
image
  .command('build <name>')
  .description('builds an image: default or debian')
  .action(async (name) => (await import('./commands/image.ts')).buildImage(name));

const app = program
  .command('app')
  .description('applications that run on Pando, each on its own for a first look');
const payments = app
  .command('payments')
  .description('proximity payments: the positions of both devices decide');
const appDirectoryOption = (): Option =>
  new Option('--dir <dir>', 'where it keeps its files; default: /var/lib/pando-payments, or below your home');
payments
  .command('up')
  .description('starts it with demo people and a map, on a PostgreSQL of its own')
  .addOption(appDirectoryOption())
  .option('--port <port>', 'its port on 127.0.0.1 (default: 8480)', wholeNumber(1, 65_535))
  .option('--live', 'without demo people: sign-in by passkey alone', false)
  .action(async (options) => (await import('./commands/app.ts')).appUp('payments', options));
payments
  .command('down')
  .description('ends it; its books stay')
  .addOption(appDirectoryOption())
  .option('--purge', 'remove its books too', false)
  .action(async (options) => (await import('./commands/app.ts')).appDown('payments', options));
payments
  .command('status')
  .description('whether it runs, and where')
  .addOption(appDirectoryOption())
  .option('--json', 'for programs', false)
  .action(async (options) => (await import('./commands/app.ts')).appStatus('payments', options));

program
  .command('test [pattern...]')
  .description('runs the tests: all with types and lint, or the files whose path has a pattern in it')
  .option('--soak', 'also the long ones: soaks, and the images that take minutes to boot')
  .option('--times', 'at the end, what every file took: wall time, processor time')
  .action(async (patterns, options) => (await import('./commands/test.ts')).test(patterns, options));

/** A reader that has seen enough (`pando logs | head`) ends the command without a word. */
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });

try {
  await program.parseAsync();
} catch (error) {
  const { failureOf } = await import('./failure.ts');
  const { message, expected } = failureOf(error);
  const debug = process.env.PANDO_DEBUG !== undefined;
  console.error(debug ? error : `pando: ${message}`);
  if (!expected && !debug) console.error('(PANDO_DEBUG=1 shows where)');
  process.exitCode = 1;
}
