/** `pando quota`: shows and sets the limits of an account. */
import { RpcClient } from '#base/rpc/client.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { operatorContract, quotaName } from '#contracts/operator.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { operatorTls, regionAddress } from '../operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion, type Region } from '../region.ts';

export interface QuotaOptions {
  readonly dir: string;
}

const connectTimeoutMs = 2_000;

type RegionCaller = Caller<typeof operatorContract>;

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

async function withRegion(
  opened: Pick<Region, 'directory' | 'run'>,
  work: (region: RegionCaller) => Promise<void>,
): Promise<void> {
  const client = new RpcClient({
    tls: await operatorTls(opened),
    ...regionAddress(opened.run),
    expect: identityOf('region', 'region'),
    remote: operatorContract,
    contract: {},
    handlers: {},
  });
  try {
    await client.ready(connectTimeoutMs).catch(() => {
      throw new UserError(
        'The region does not answer. pando logs region shows why; pando up brings it back.',
      );
    });
    await work(client);
  } finally {
    client.close();
  }
}
