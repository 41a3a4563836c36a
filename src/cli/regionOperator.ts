/** The region process, spoken to as its operator. */
import { RpcClient } from '#base/rpc/client.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { operatorContract } from '#contracts/operator.ts';
import { rolloutContract } from '#contracts/rollout.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { operatorTls, regionAddress } from './operator.ts';
import { UserError } from './output.ts';
import type { Region } from './region.ts';

const connectTimeoutMs = 2_000;

const asked = { ...operatorContract, ...rolloutContract, ...vpcChangesContract } as const;

export type RegionCaller = Caller<typeof asked>;

export async function withRegion<T>(
  opened: Pick<Region, 'directory' | 'run'>,
  work: (region: RegionCaller) => Promise<T>,
): Promise<T> {
  const client = new RpcClient({
    tls: await operatorTls(opened),
    ...regionAddress(opened.run),
    expect: identityOf('region', 'region'),
    remote: asked,
    contract: {},
    handlers: {},
  });
  try {
    await client.ready(connectTimeoutMs).catch(() => {
      throw new UserError(
        'The region does not answer. pando logs region shows why; pando up brings it back.',
      );
    });
    return await work(client).catch((error: unknown) => {
      // What there is not was named by whoever asked.
      if (error instanceof PandoError && error.code === 'NotFound') throw new UserError(error.message);
      throw error;
    });
  } finally {
    client.close();
  }
}
