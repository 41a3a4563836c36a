/** Another account of the region, made by its operator. */

import { readFileSync } from 'node:fs';
import { loadTls } from '#base/config.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { Ec2Client } from '#cli/ec2Client.ts';
import { operatorContract } from '#contracts/operator.ts';
import { identityOf, PkiFiles } from '#node/pkiFiles.ts';
import { processList } from '#node/processSpec.ts';
import type { TestRegion } from './region.ts';

const timeoutMs = 10_000;

/** Makes the account and returns a client with its key. */
export async function newAccount(region: TestRegion, name: string): Promise<Ec2Client> {
  const { directory, plan, endpoint, run } = region;
  const { processes } = processList.parse(JSON.parse(readFileSync(directory.processList, 'utf8')));
  const ready = processes.flatMap((each) =>
    each.kind === 'node' && each.name === 'region' ? [each.ready] : [],
  )[0];
  if (ready?.kind !== 'health') throw new Error('the region process tells no health');
  const pki = await PkiFiles.open(directory.pki, plan.prefix);
  const client = new RpcClient({
    tls: loadTls(await pki.issue('operator', 'test')),
    host: ready.host,
    port: ready.port,
    expect: identityOf('region', 'region'),
    remote: operatorContract,
    contract: {},
    handlers: {},
  });
  try {
    await client.ready(timeoutMs);
    const { accessKeyId, secretAccessKey } = await client.call('operator.createAccount', { name });
    const credentials = { accessKeyId, secret: secretAccessKey };
    return new Ec2Client({ endpoint, region: run.regionName, credentials });
  } finally {
    client.close();
  }
}
