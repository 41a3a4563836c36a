/** `pando operator key …`: keys for rollouts over HTTP. */
import { operatorName } from '#contracts/operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';

interface Directory {
  readonly dir: string;
}
type Json = Directory & { readonly json: boolean };

export async function createKey(name: string, options: Json): Promise<void> {
  const operator = operatorName.safeParse(name);
  if (!operator.success)
    throw new UserError(
      `An operator's name is a letter and up to 63 of letters, digits, ".", "_", "-", not ${name}.`,
    );
  const opened = openRegion(options);
  await withRegion(opened, async (region) => {
    const key = await region.call('operator.createKey', { operator: operator.data });
    if (options.json) return print(JSON.stringify(key, null, 2));
    print(`${key.accessKeyId}  ${key.secretAccessKey}\nThe secret is shown this once. It signs requests to:`);
    print(`${opened.endpoint}/rollout/v1/  (region ${opened.run.regionName}, service ec2)`);
  });
}

export async function listKeys(options: Json): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { keys } = await region.call('operator.keys', {});
    if (options.json) return print(JSON.stringify({ keys }, null, 2));
    if (keys.length === 0) return print('No operator has a key. pando operator key create NAME makes one.');
    const rows = keys.map((key) => [key.accessKeyId, key.operator, key.createdBy, key.createdAt]);
    print(table([['KEY', 'OPERATOR', 'MADE BY', 'AT'], ...rows]));
  });
}

export async function deleteKey(accessKeyId: string, options: Directory): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    await region.call('operator.deleteKey', { accessKeyId });
    print(`${accessKeyId} is deleted.`);
  });
}
