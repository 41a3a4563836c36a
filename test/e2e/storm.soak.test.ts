/** As test/chaos/storm.test.ts, on real hosts: QEMU, cards in namespaces, and every process under its supervisor. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { RpcClient } from '#base/rpc/client.ts';
import { operatorTls, planOf, withCell } from '#cli/operator.ts';
import { operatorContract } from '#contracts/operator.ts';
import { regionPort } from '#lab/processes.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { randomOf, seed } from '../chaos/support/random.ts';
import { killAtRandom, liveThrough, settles, type Victim } from '../chaos/support/storm.ts';
import { Ledger, User } from '../chaos/support/users.ts';
import { type ProcessKind, processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { vmmsOf } from './support/vmm.ts';

const stormMs = 180_000;
const settleMsMax = 60_000;
const logLinesMax = 60;
const killed: readonly ProcessKind[] = ['router', 'region', 'cell', 'agent', 'card', 'postgres'];

test('a random process dies every one to five seconds for three minutes', {
  timeout: 14 * 60_000,
}, async (t) => {
  t.diagnostic(`PANDO_SEED=${seed} plays this again`);
  const region = await startRegion({ cells: 1, hostsPerCell: 2 });
  try {
    const ledger = new Ledger();
    const users = await usersOf(region, ledger);
    const victims = await victimsOf(region);
    const options = { ms: stormMs, killEveryMs: [1_000, 5_000] as const };
    const kill = () => killAtRandom(victims, randomOf('killer'), options);
    for (const line of await liveThrough(users, ledger, kill)) t.diagnostic(line);
    const { ms, problems } = await settles(() => problemsOf(region, ledger), settleMsMax);
    t.diagnostic(`what is there is what users asked for, ${(ms / 1000).toFixed(1)} s after that`);
    for (const line of logsOf(region, problems)) t.diagnostic(line);
    assert.deepEqual(problems, [], `PANDO_SEED=${seed}`);
    await region.cloud.terminate(
      ledger.promised.filter(({ wish }) => wish !== 'terminated').flatMap(({ ids }) => [...ids]),
    );
    const left = await settles(() => leftOf(region), settleMsMax);
    assert.deepEqual(left.problems, [], `nothing is held for nobody; PANDO_SEED=${seed}`);
  } finally {
    await region[Symbol.asyncDispose]();
  }
});

const usersOf = async (region: TestRegion, ledger: Ledger): Promise<User[]> => {
  const imageId = await region.cloud.image();
  const { accessKeyId, secret } = region.credentials;
  const migrate = (instanceId: string): Promise<void> =>
    withCell(region, 1, (cell) => cell.call('operator.migrate', { instanceId }, { timeoutMs: 5_000 })).then(
      () => ledger.count(ledger.acknowledged, 'migrate'),
      (error: Error & { code?: string }) =>
        ledger.count(ledger.refused, `migrate: ${error.code ?? error.name}`),
    );
  return [0, 1, 2].map(
    (at) =>
      new User({
        endpoint: region.endpoint,
        region: region.run.regionName,
        key: { accessKeyId, secretAccessKey: secret },
        ...{ imageId, ledger, migrate, instancesMax: 2, random: randomOf(`user-${at}`) },
      }),
  );
};

/** Whoever bears the name when it is to die. */
const victimsOf = async ({ directory }: TestRegion): Promise<Victim[]> =>
  (await processesOf(directory))
    .filter(({ kind }) => killed.includes(kind))
    .map(({ name }) => ({
      name,
      kill: async () => {
        const now = (await processesOf(directory)).find((each) => each.name === name);
        if (now === undefined) return false;
        try {
          return process.kill(now.pid, 'SIGKILL');
        } catch {
          // Dead, and not yet missed by its supervisor.
          return false;
        }
      },
    }));

/** What users were promised against the API, the machine's processes, workflows and quarantine. */
const problemsOf = async (region: TestRegion, ledger: Ledger): Promise<string[]> => {
  const problems = [...ledger.complaints];
  for (const { token, ids, wish } of ledger.promised) {
    const [id = ''] = ids;
    if (ids.size !== 1) problems.push(`token ${token} has ${ids.size} instances`);
    const { state } = await region.cloud.vm(id);
    const vmms = vmmsOf(id).map(({ host }) => host);
    if (state !== wish)
      problems.push(`${id} is ${state}, and should be ${wish}: ${await historyOf(region, id)}`);
    if (vmms.length !== (wish === 'running' ? 1 : 0)) problems.push(`${id} (${wish}) has VMMs on [${vmms}]`);
  }
  return [...problems, ...(await unsettledOf(region, ledger))];
};

/** What was done with an instance: its workflows with their steps, and the errors that they ended with. */
const historyOf = (region: TestRegion, id: string): Promise<string> =>
  withCell(region, 1, async (cell) => {
    const { workflows } = await cell.call('operator.workflows', { subject: id, ended: true });
    const shown = await Promise.all(
      workflows.map(async ({ workflowId }) => {
        const { kind, state, epoch, steps, error, createdAt, updatedAt } = await cell.call(
          'operator.workflow',
          { workflowId },
        );
        const done = steps.filter((step) => step.done).map(({ name }) => name);
        return { workflowId, kind, state, epoch, done, error, createdAt, updatedAt };
      }),
    );
    return JSON.stringify(shown);
  });

/** What the processes' logs say about the instances that problems name: an error's cause is seldom in the cell's store. */
const logsOf = (region: TestRegion, problems: readonly string[]): string[] => {
  const ids = new Set(problems.flatMap((each) => each.match(/^i-[0-9a-f]+/) ?? []));
  const directory = region.directory.log;
  const files = readdirSync(directory).filter((name) => name.endsWith('.log'));
  return [...ids].flatMap((id) =>
    files.flatMap((name) =>
      readFileSync(join(directory, name), 'utf8')
        .split('\n')
        .filter((line) => line.includes(id))
        .slice(-logLinesMax)
        .map((line) => `${name}: ${line}`),
    ),
  );
};

const unsettledOf = (region: TestRegion, ledger: Ledger): Promise<string[]> =>
  withCell(region, 1, async (cell) => {
    const promised = new Set(ledger.promised.flatMap(({ ids }) => [...ids]));
    const [{ workflows }, { vms }, { instances }] = await Promise.all([
      cell.call('operator.workflows', {}),
      cell.call('operator.quarantined', {}),
      cell.call('operator.instances', {}),
    ]);
    return [
      ...workflows.map((each) => `a workflow has not ended: ${JSON.stringify(each)}`),
      ...vms.map((each) => `in quarantine: ${JSON.stringify(each)}`),
      ...instances
        .filter(({ instanceId }) => !promised.has(instanceId))
        .map(({ instanceId }) => `duplicate: nobody was told of ${instanceId}`),
    ];
  });

/** With every instance terminated: capacity, interfaces and addresses that are still held. */
const leftOf = async (region: TestRegion): Promise<string[]> => {
  const { hosts } = await withCell(region, 1, (cell) => cell.call('operator.hosts', {}));
  const client = new RpcClient({
    tls: await operatorTls(region),
    ...{ host: planOf(region.run).management, port: regionPort, expect: identityOf('region', 'region') },
    ...{ remote: operatorContract, contract: {}, handlers: {} },
  });
  try {
    await client.ready(10_000);
    const { interfaces, publicAddresses } = await client.call('operator.status', {});
    return [
      ...hosts
        .filter(({ used }) => used.vcpus + used.memoryMib + used.diskMib !== 0)
        .map(({ hostId, used }) => `${hostId} holds ${JSON.stringify(used)} for nobody`),
      ...(interfaces === 0 ? [] : [`${interfaces} interfaces are left`]),
      ...(publicAddresses.used === 0 ? [] : [`${publicAddresses.used} public addresses are left`]),
    ];
  } finally {
    client.close();
  }
};
