/** GetConsoleOutput through all that happens to an instance: what its guest wrote is there, once, the last 64 KiB of it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { consoleBytesMax, terminatedVisibleMs } from '#cell/limits.ts';
import { keepConsole, keptConsole, purgeConsoles } from '#cell/store/consoles.ts';
import { PandoError } from '#contracts/errors.ts';
import type { SimVm } from '#simhost/vm.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 2; n++) setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());

const running = async (): Promise<string> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  vmOf(id).consoleText = '';
  return id;
};
const vmOf = (id: string): SimVm => {
  const [hostId] = setup.world.runningOn(id);
  const vm = setup.hosts.find((host) => host.hostId === hostId)?.vms.get(id);
  assert.ok(vm);
  return vm;
};
const output = async (id: string): Promise<string> => {
  const { Output } = await ec2(processor.cell, 'GetConsoleOutput', { InstanceId: id });
  return Buffer.from(String(Output), 'base64').toString();
};
const migrate = async (id: string): Promise<void> => {
  const { targetHostId } = await processor.cell.operator['operator.migrate']({ instanceId: id });
  await until('it has moved', async () => {
    const [row] = await processor.cell.services.db.query<{ host_id: string; workflow_id: string | null }>(
      'select host_id, workflow_id from instances where id = $1',
      [id],
    );
    return row?.host_id === targetHostId && row.workflow_id === null;
  });
};
const terminate = async (id: string): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
};

test('it survives migrations, there and back, and each line is there once at every moment', async () => {
  const id = await running();
  vmOf(id).consoleText = 'one\n';
  const seen: string[] = [];
  const look = (): Promise<unknown> =>
    output(id).then(
      (text) => seen.push(text),
      // Where it moved too often while it was read, or its host took too long.
      (error: unknown) => assert.equal(PandoError.from(error).code, 'Unavailable'),
    );
  const watching = setInterval(() => void look(), 5);
  await migrate(id);
  vmOf(id).consoleText = 'two\n';
  await migrate(id);
  vmOf(id).consoleText = 'three\n';
  clearInterval(watching);
  assert.equal(await output(id), 'one\ntwo\nthree\n');
  for (const text of seen) {
    assert.ok(text.startsWith('one\n'), JSON.stringify(text));
    assert.equal(text.match(/one/g)?.length, 1, JSON.stringify(text));
  }
  await terminate(id);
  assert.equal(await output(id), 'one\ntwo\nthree\n', 'for an hour after its termination too');
});

test('a part that is kept while its host is asked is told once: as it moves, and as it ends', async () => {
  const { hosts } = processor.cell.services;
  const call = hosts.call;
  const meanwhile = (what: () => Promise<void>): void => {
    hosts.call = async function (this: typeof hosts, ...args: Parameters<typeof call>) {
      const answer = await call.apply(this, args);
      if (args[1] === 'vm.console') {
        hosts.call = call;
        await what();
      }
      return answer;
    } as typeof call;
  };
  const id = await running();
  vmOf(id).consoleText = 'one\n';
  meanwhile(() => migrate(id));
  assert.match(await output(id), /^one\n\[sim\] [^\n]+\n$/);
  vmOf(id).consoleText = 'two\n';
  meanwhile(() => terminate(id));
  assert.equal(await output(id), 'one\ntwo\n');
});

test('a VM that moves between two looks at the records is told by one of its hosts', async () => {
  const { db, hosts } = processor.cell.services;
  const { query } = db;
  const { call } = hosts;
  const id = await running();
  vmOf(id).consoleText = 'one\n';
  const [from] = setup.world.runningOn(id);
  const [started, looked, told] = [1, 2, 3].map(() => Promise.withResolvers<void>());
  assert.ok(started && looked && told);
  const keptTimeoutMs = 2_000;
  hosts.call = async function (this: typeof hosts, ...args: Parameters<typeof call>) {
    if (args[1] === 'migrate.start') {
      started.resolve();
      await looked.promise;
    }
    // The source's part is kept only when all is over.
    if (args[1] === 'vm.console' && args[3]?.timeoutMs === keptTimeoutMs) await told.promise;
    return call.apply(this, args);
  } as typeof call;
  db.query = async function (this: typeof db, ...args: Parameters<typeof query>) {
    if (args[1]?.includes(`migration/${id}`)) {
      db.query = query;
      looked.resolve();
      await until('the record names its new host', async () => {
        const [row] = await db.query<{ host_id: string }>('select host_id from instances where id = $1', [
          id,
        ]);
        return row?.host_id !== from;
      });
    }
    return query.apply(this, args);
  } as typeof query;
  const moved = migrate(id);
  await started.promise;
  const text = await output(id);
  told.resolve();
  [hosts.call, db.query] = [call, query];
  await moved;
  assert.match(text, /^one\n(\[sim\] [^\n]+\n)?$/);
});

test('it survives a stop and a start, and is there while the instance is stopped', async () => {
  const id = await running();
  vmOf(id).consoleText = 'before\n';
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  assert.equal(await output(id), 'before\n');
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'running');
  assert.match(await output(id), /^before\n/);
  await terminate(id);
});

test('a migration that is given up leaves it as it was', async () => {
  const id = await running();
  vmOf(id).consoleText = 'here\n';
  for (const host of setup.hosts) host.faults.order('migrate.start', { kind: 'fail' }, 10);
  await processor.cell.operator['operator.migrate']({ instanceId: id });
  await until('it is given up', async () => {
    const rows = await processor.cell.services.db.query(
      'select id from instances where id = $1 and workflow_id is null',
      [id],
    );
    return rows.length === 1;
  });
  for (const host of setup.hosts) host.faults.clear();
  assert.equal(await output(id), 'here\n');
  await terminate(id);
});

test('what is kept is bounded: the last 64 KiB, and for an hour', async () => {
  const id = await running();
  vmOf(id).consoleText = 'a'.repeat(consoleBytesMax);
  await migrate(id);
  vmOf(id).consoleText = 'b'.repeat(1_000);
  await terminate(id);
  const text = await output(id);
  assert.equal(text.length, consoleBytesMax);
  assert.equal(text, 'a'.repeat(consoleBytesMax - 1_000) + 'b'.repeat(1_000));
  const { db } = processor.cell.services;
  const now = Date.now();
  await purgeConsoles(db, new Date(now - terminatedVisibleMs));
  assert.ok(await keptConsole(db, id));
  await purgeConsoles(db, new Date(now + 60_000));
  assert.equal(await keptConsole(db, id), undefined);
});

test('a step that is repeated keeps its part once; bytes that are no text are kept as they are', async () => {
  const { db } = processor.cell.services;
  const part = (hex: string) => ({ output: Buffer.from(hex, 'hex'), at: new Date() });
  for (let n = 0; n < 3; n++) await keepConsole(db, 'i-1', 'wf-1', part('00ff'));
  for (let n = 0; n < 2; n++) await keepConsole(db, 'i-1', 'wf-2', part('0a'));
  assert.equal((await keptConsole(db, 'i-1'))?.output.toString('hex'), '00ff0a');
});

test('a host that is away delays no termination for its console', async () => {
  const id = await running();
  for (const host of setup.hosts) host.faults.order('vm.console', { kind: 'fail' }, 10);
  await terminate(id);
  for (const host of setup.hosts) host.faults.clear();
  assert.equal(await output(id), '');
});
