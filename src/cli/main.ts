/** The `pando` command. Each command's module is loaded when it is used, so that `--help` is quick. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { codeDirectory } from '#lab/directory.ts';

const examples = `
Examples:
  pando doctor                        what this machine lacks, and the fix
  pando up                            a whole region on this machine, with a first VM
  pando aws ec2 describe-instances    the AWS CLI, pointed at this region
  pando ssh i-0010123456789abcd       a shell in a VM
  pando migrate i-0010123456789abcd   moves a running VM to another host, live
  pando logs --follow cell-a-1        what one process says
  pando down                          ends everything and leaves nothing behind`;

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
  new Option('--dir <dir>', 'where the region keeps its files').default(defaultDirectory).env('PANDO_DIR');

program
  .command('doctor')
  .description('says what this machine lacks, and how to get it')
  .option('--fix', 'install what is missing', false)
  .action(async (options) => (await import('./commands/doctor.ts')).doctor(options));

program
  .command('up')
  .description('starts a region on this machine; run again, it restores what is missing')
  .addOption(directoryOption())
  .option('--cells <n>', 'how many cells (first start only)', wholeNumber(1, 8))
  .option('--hosts-per-cell <n>', 'how many hosts in each cell (first start only)', wholeNumber(1, 20))
  .option('--port <port>', 'the API’s port on 127.0.0.1 (first start only)', wholeNumber(1, 65_535))
  .addOption(
    new Option(
      '--postgres <url>',
      'a PostgreSQL (15 or newer) to keep everything in, instead of servers of its own (first start only)',
    ).env('PANDO_POSTGRES'),
  )
  .option('--no-first-vm', 'do not launch a first VM')
  .action(async (options) => (await import('./commands/up.ts')).up(options));

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
  .action(async (patterns) => (await import('./commands/test.ts')).test(patterns));

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
