/** The commands `pando operator key`. */
import type { Command, Option } from 'commander';

interface Options {
  directoryOption(): Option;
}

export const addOperatorCommands = (program: Command, { directoryOption }: Options): void => {
  const operator = program
    .command('operator')
    .description('who may change cards and gateways over HTTP, and with which keys')
    .addHelpText(
      'after',
      `
Rollouts and policies can be worked with over HTTP and JSON too, at the API's endpoint under /rollout/v1/: requests are signed like those of
the EC2 API, with a key of an operator's own. A key of an account can do nothing there, and an operator's key nothing in the EC2 API.
  pando operator key create deploy       prints the key; its secret is shown this once
  pando operator key list
  pando operator key delete AKIA...      good for nothing from then on
  curl --aws-sigv4 aws:amz:pando-1:ec2 --user KEY:SECRET http://127.0.0.1:4566/rollout/v1/rollouts
From a program: GET /rollout/v1/openapi.json on the API's endpoint describes it, and needs no key.`,
    );
  const key = operator.command('key').description('keys of operators');
  key
    .command('create <operator>')
    .description('makes a key of this operator, whose name stands in records and in approvals')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (name, options) => (await import('./commands/operatorKey.ts')).createKey(name, options));
  key
    .command('list')
    .description('keys of operators, without their secrets')
    .option('--json', 'for programs', false)
    .addOption(directoryOption())
    .action(async (options) => (await import('./commands/operatorKey.ts')).listKeys(options));
  key
    .command('delete <key>')
    .description('deletes a key: requests signed with it are refused from then on')
    .addOption(directoryOption())
    .action(async (id, options) => (await import('./commands/operatorKey.ts')).deleteKey(id, options));
};
