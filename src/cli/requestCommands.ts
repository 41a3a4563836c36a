/** `pando request …`: its commands and their help. */
import type { Command, Option } from 'commander';

export interface CommandParts {
  directoryOption(): Option;
  wholeNumber(min: number, max: number): (text: string) => number;
}

export const addRequestCommands = (
  program: Command,
  { directoryOption, wholeNumber }: CommandParts,
): void => {
  const request = program
    .command('request')
    .description('capacity that is waited for: who asks is told when there is room')
    .addHelpText(
      'after',
      `
A launch without room fails at once. A request waits instead: what becomes free is offered to it, in order, and reserved for it
for some minutes. A launch with the header x-pando-hold and the offer's id claims it.
  pando request create --type p1.xlarge --count 2
  pando request create --type p1.xlarge --alternative 'p1.large*2' --callback https://example.org/hook
  pando request list
  pando request show pr-0010123456789abcd
  pando request events --follow
  pando request cancel pr-0010123456789abcd
  pando request dead-letters
  pando request replay --all
From a program: GET /capacity/v1/openapi.json on the API's endpoint describes the same over HTTP.`,
    );
  request
    .command('create')
    .description('waits for room')
    .requiredOption('--type <type>', 'the instance type, for example p1.xlarge or custom.500m.384')
    .option('--count <n>', 'how many instances', wholeNumber(1, 100), 1)
    .option('--disk <GiB>', 'size of each root disk', wholeNumber(1, 16_384), 8)
    .option('--zone <zone>', 'the availability zone; default: any')
    .option('--race', 'is told of room that is not reserved: whoever launches first has it', false)
    .option('--offer-for <s>', 'for how long an offer stands', wholeNumber(10, 3_600), 300)
    .option('--valid-for <s>', 'for how long the request waits', wholeNumber(10, 2_592_000), 86_400)
    .option('--alternative <what...>', "what would do instead: TYPE, 'TYPE*COUNT' or 'TYPE*COUNT@ZONE'", [])
    .option('--suggest', 'work out alternatives from what the account runs, too', false)
    .option('--callback <url>', 'where events are sent')
    .option('--token <token>', 'the same token gives the same request again')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/request.ts')).createRequest(options));
  request
    .command('list')
    .description('the requests that wait or have an offer')
    .option('--all', 'those too that have ended', false)
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/request.ts')).listRequests(options));
  request
    .command('show <request>')
    .description('one request, its offers and alternatives')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/request.ts')).showRequest(id, options));
  request
    .command('cancel <request>')
    .description('waits no longer; what was reserved for it is given back')
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/request.ts')).cancelRequest(id, options));
  request
    .command('dead-letters')
    .description('webhooks of all accounts that were given up, for the operator')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/deadLetters.ts')).listDeadLetters(options));
  request
    .command('replay [event]')
    .description('tries webhooks again that were given up')
    .option('--account <id>', 'all of one account')
    .option('--all', 'all that there are', false)
    .addOption(directoryOption())
    .action(async (event, options) =>
      (await import('./commands/deadLetters.ts')).replayDeadLetters(event, options),
    );
  request
    .command('events')
    .description('what became of the requests, oldest first')
    .option('-f, --follow', 'go on as it happens', false)
    .option('--json', 'one event a line, for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/request.ts')).showEvents(options));
};
