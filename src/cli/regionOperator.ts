/** The region process, spoken to as its operator. */
import { RpcClient } from '#base/rpc/client.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { operatorContract } from '#contracts/operator.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { operatorTls, regionAddress } from './operator.ts';
import { UserError } from './output.ts';
import type { Region } from './region.ts';

const connectTimeoutMs = 2_000;

export type RegionCaller = Caller<typeof operatorContract>;

export async function withRegion<T>(
  opened: Pick<Region, 'directory' | 'run'>,
  work: (region: RegionCaller) => Promise<T>,
): Promise<T> {
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
    return await work(client);
  } finally {
    client.close();
  }
}
