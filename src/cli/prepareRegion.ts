/** What a fresh region needs before its first client: an account with a key, and the default image for everyone. */
import { randomBytes } from 'node:crypto';
import { RpcClient } from '#base/rpc/client.ts';
import { operatorContract } from '#contracts/operator.ts';
import { regionPort } from '#lab/processes.ts';
import { readRun, writeRun } from '#lab/runRecord.ts';
import type { RunDirectory } from '#node/directory.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { operatorTls, planOf } from './operator.ts';
import { openRegion, type Region } from './region.ts';

const connectTimeoutMs = 10_000;
/** The region copies the image's files and reads them whole to check their digests. */
const imageTimeoutMs = 180_000;
const imageName = 'pando-micro';

/** Makes what is missing, and answers the region as its user sees it, with the default image's id. */
export async function prepareRegion(
  directory: RunDirectory,
  imageDirectory: string,
): Promise<{ region: Region; imageId: string }> {
  const run = readRun(directory);
  if (run === undefined) throw new Error(`${directory.root} holds no region`);
  const client = new RpcClient({
    tls: await operatorTls({ directory, run }),
    host: planOf(run).management,
    port: regionPort,
    expect: identityOf('region', 'region'),
    remote: operatorContract,
    contract: {},
    handlers: {},
  });
  try {
    await client.ready(connectTimeoutMs);
    if (run.account === undefined) {
      // The name is drawn: a start that broke off between the account and our note of it must not stand in the next one's way.
      const name = `user-${randomBytes(4).toString('hex')}`;
      const { accountId, accessKeyId, secretAccessKey } = await client.call('operator.createAccount', {
        name,
      });
      writeRun(directory, { ...run, account: { accountId, accessKeyId, secret: secretAccessKey } });
    }
    const request = { directory: imageDirectory, name: imageName, public: true as const };
    const { imageId } = await client.call('operator.registerImage', request, { timeoutMs: imageTimeoutMs });
    return { region: openRegion({ dir: directory.root }), imageId };
  } finally {
    client.close();
  }
}
