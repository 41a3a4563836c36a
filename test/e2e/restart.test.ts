/** Static stability: whichever process of the region dies, VMs go on, and what died comes back and is right again. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRaw, sign } from '../router/cloud.ts';
import type { Network, Vm } from './support/cloud.ts';
import type { Guest } from './support/guest.ts';
import { killAndWait, type ProcessKind, processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

const kinds: readonly ProcessKind[] = [
  'ca',
  'router',
  'region',
  'cell',
  'agent',
  'card',
  'gateway',
  'postgres',
];
/** Opened and closed again after each death: a change that goes through every layer down to the card. */
const changedPort = 80;

describe('kill -9', { timeout: 14 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  let vm: Vm;
  let guest: Guest;

  before(async () => {
    region = await startRegion();
    network = await region.cloud.network('10.60.0.0/16', [22, changedPort]);
    const [machine] = await region.cloud.start({ network });
    assert.ok(machine);
    ({ vm, guest } = machine);
  });

  after(() => region?.[Symbol.asyncDispose]());

  for (const kind of kinds)
    it(`of each ${kind}: the VM answers meanwhile, and the region is right again`, async () => {
      const pid = vmmOf(vm.instanceId).pid;
      const victims = (await processesOf(region.directory)).filter((each) => each.kind === kind);
      assert.ok(victims.length > 0, `the region has no ${kind}`);
      const witness = watch(guest);
      try {
        for (const victim of victims) await killAndWait(region.directory, victim);
        await until(
          'the API to describe the VM',
          async () => (await region.cloud.vm(vm.instanceId)).state === 'running',
        );
      } finally {
        witness.stop();
      }
      await witness.done;
      assert.deepEqual(witness.silences, [], 'the page did not answer');
      assert.ok(witness.answers > 0);
      assert.equal(vmmOf(vm.instanceId).pid, pid, 'the VM is another process');
      await changes();
    });

  it('an operator starts the router anew: no call of the API fails meanwhile', async () => {
    const { accessKeyId, secret } = region.credentials;
    const key = { accessKeyId, secretAccessKey: secret };
    const port = Number(new URL(region.endpoint).port);
    const form = 'Action=DescribeInstances&Version=2016-11-15';
    const ends = new Map<string, number>();
    let asking = true;
    const asked = (async () => {
      while (asking) {
        const end = await sendRaw(port, sign(port, form, { key, region: region.run.regionName })).then(
          ({ status }) => String(status),
          (error: Error & { code?: string }) => error.code ?? error.message,
        );
        ends.set(end, (ends.get(end) ?? 0) + 1);
      }
    })();
    const former = (await processesOf(region.directory)).find(({ kind }) => kind === 'router');
    await region.pando('restart', 'router');
    await until('the former one to have left', async () => {
      const now = (await processesOf(region.directory)).find(({ kind }) => kind === 'router');
      return now?.ready === true && now.pid !== former?.pid && !isAlive(former?.pid ?? 0);
    });
    asking = false;
    await asked;
    assert.deepEqual([...ends.keys()], ['200'], JSON.stringify([...ends]));
  });

  /** The next change must take hold: closed, then open. The API may still be joining its parts, so the first call is retried. */
  async function changes(): Promise<void> {
    const { cloud } = region;
    const rule = { protocol: 'tcp', port: changedPort };
    await until('the port to be closed by the API', () =>
      cloud.permit('Revoke', network.groupId, rule).then(
        () => true,
        (error: unknown) => isGone(error),
      ),
    );
    await until('the port to be closed', async () => !(await guest.accepts(changedPort, 1_500)));
    await cloud.permit('Authorize', network.groupId, rule);
    await until('the port to be open', () => guest.accepts(changedPort));
    await guest.answers();
  }
});

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** A repeated call finds its work done by the first, whose answer was lost. */
const isGone = (error: unknown): boolean => {
  if (error instanceof Error && error.message.includes('InvalidPermission.NotFound')) return true;
  throw error;
};

interface Witness {
  answers: number;
  readonly silences: string[];
  readonly done: Promise<void>;
  stop(): void;
}

/** Asks for the VM's page again and again, one connection each. One lost packet may cost a retransmission, not the answer. */
function watch(guest: Guest): Witness {
  const timeoutMs = 10_000;
  let stopped = false;
  const witness = { answers: 0, silences: [] as string[] };
  const look = async (): Promise<void> => {
    while (!stopped) {
      const page = await guest.page('/', timeoutMs);
      if (page === undefined) witness.silences.push(new Date().toISOString());
      else witness.answers += 1;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  const done = look();
  return Object.assign(witness, {
    done,
    stop: () => {
      stopped = true;
    },
  });
}
