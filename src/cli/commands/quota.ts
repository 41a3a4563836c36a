/** `pando quota`: shows and sets the limits of an account. */
import { quotaName } from '#contracts/operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';

export interface QuotaOptions {
  readonly dir: string;
}

export async function listQuotas(account: string, options: QuotaOptions): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { quotas } = await region.call('operator.quotas', { accountId: account });
    print(
      table([
        ['quota', 'value', 'default', 'at most'],
        ...quotas.map((each) => [each.name, String(each.value), String(each.default), String(each.max)]),
      ]),
    );
  });
}

/** `value`: a whole number, or `default`. */
export async function setQuota(
  account: string,
  name: string,
  value: string,
  options: QuotaOptions,
): Promise<void> {
  const known = quotaName.safeParse(name);
  if (!known.success)
    throw new UserError(`There is no quota ${name}. There are: ${quotaName.options.join(' ')}`);
  if (value !== 'default' && !/^\d{1,9}$/.test(value))
    throw new UserError(`A quota is a whole number or the word default, not ${value}.`);
  await withRegion(openRegion(options), async (region) => {
    await region.call('operator.setQuota', {
      accountId: account,
      name: known.data,
      ...(value === 'default' ? {} : { value: Number(value) }),
    });
    print(`${name} of ${account} is ${value} from now on. What the account has above it stays.`);
  });
}
