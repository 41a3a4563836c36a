import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { admit } from '#agent/admission.ts';
import { recall, record } from '#agent/command-record.ts';
import { Fences } from '#agent/fences.ts';
import { ImagePins } from '#agent/image-pins.ts';
import { imagePinMsMax, stepsRecordedPerWorkflowMax, workflowsRecordedPerVmMax } from '#agent/limits.ts';
import { Standstill, StoodStill } from '#agent/migration/standstill.ts';
import { requirementOfCommand } from '#agent/recover.ts';
import { SerialQueue } from '#agent/serial-queue.ts';
import { tapName } from '#agent/tap.ts';
import { Tombstones } from '#agent/tombstones.ts';
import type { WorkflowRecord } from '#agent/vm-record.ts';

const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

describe('commands', () => {
  const command = fc.record({
    workflowId: fc.constantFrom('a', 'b', 'c'),
    step: fc.constantFrom('x', 'y'),
    epoch: fc.integer({ min: 1, max: 4 }),
  });

  it('are carried out once a step, and never for an older epoch', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (sent) => {
        const workflows: WorkflowRecord[] = [];
        const newest = new Map<string, number>();
        const done = new Set<string>();
        for (const key of sent) {
          const name = `${key.workflowId}/${key.step}`;
          if (key.epoch < (newest.get(key.workflowId) ?? 0)) {
            assert.throws(() => recall(workflows, key), code('StaleEpoch'));
            continue;
          }
          const known = recall(workflows, key);
          assert.equal(known !== undefined, done.has(name));
          if (known === undefined) record(workflows, key, name);
          else assert.equal(known.result, name);
          done.add(name);
          newest.set(key.workflowId, key.epoch);
        }
      }),
    );
  });

  it('are remembered in bounded number', () => {
    const workflows: WorkflowRecord[] = [];
    for (let n = 0; n < 100; n++)
      for (let step = 0; step < 50; step++)
        record(workflows, { workflowId: `w${n}`, step: `s${step}`, epoch: 1 }, {});
    assert.equal(workflows.length, workflowsRecordedPerVmMax);
    assert.equal(workflows.at(-1)?.steps.length, stepsRecordedPerWorkflowMax);
  });

  it('of a VM that is gone are fenced across restarts', async () => {
    const dir = await mkdtemp(join(os.tmpdir(), 'pa-'));
    try {
      await (await Fences.open(dir)).keep([{ workflowId: 'w', epoch: 3 }]);
      const again = await Fences.open(dir);
      assert.equal(again.epochOf('w'), 3);
      await again.keep([{ workflowId: 'w', epoch: 2 }]);
      assert.equal(again.epochOf('w'), 3);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('that cannot be understood are put aside, and those that cannot be read now are not taken for none', async () => {
    const dir = await mkdtemp(join(os.tmpdir(), 'pa-'));
    const path = join(dir, 'fences.json');
    const damaged: string[] = [];
    try {
      await writeFile(path, '[["w",');
      const fences = await Fences.open(dir, undefined, (each) => damaged.push(each));
      assert.deepEqual([damaged, fences.epochOf('w')], [[path], undefined]);
      assert.equal(await readFile(`${path}.unreadable`, 'utf8'), '[["w",');
      await fences.keep([{ workflowId: 'w', epoch: 4 }]);
      assert.equal((await Fences.open(dir)).epochOf('w'), 4);
      // A directory in its place: it is there, and cannot be read.
      for (const name of ['fences.json', 'tombstones.jsonl']) {
        await rm(join(dir, name), { force: true });
        await mkdir(join(dir, name));
      }
      await assert.rejects(Fences.open(dir), /EISDIR/);
      await assert.rejects(Tombstones.open(dir), /EISDIR/);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('wait in bounded number, and one that fails does not stop the next', async () => {
    const queue = new SerialQueue(2);
    const first = queue.run(() => Promise.reject(new Error('no')));
    const second = queue.run(async () => 2);
    await assert.rejects(
      queue.run(async () => 3),
      code('RequestLimitExceeded'),
    );
    await assert.rejects(first, /no/);
    assert.equal(await second, 2);
  });
});

describe('admission', () => {
  const vm = fc.record({
    state: fc.constantFrom('running' as const, 'stopped' as const, 'paused' as const, 'incoming' as const),
    requirement: fc.record({
      vcpus: fc.constant(1),
      memoryMib: fc.integer({ min: 1, max: 512 }),
      rootDiskMib: fc.constant(8),
    }),
  });

  it('never exceeds the declared capacity (I3)', () => {
    fc.assert(
      fc.property(
        fc.array(vm, { maxLength: 20 }),
        fc.integer({ min: 1, max: 4096 }),
        (wanted, capacityMib) => {
          const admitted: typeof wanted = [];
          for (const next of wanted) {
            try {
              admit(next.requirement, { others: admitted, capacityMib, availableMib: 1e6 });
              admitted.push(next);
            } catch (error) {
              assert.ok(code('InsufficientInstanceCapacity')(error));
            }
            const held = admitted.filter(({ state }) => state !== 'stopped');
            assert.ok(held.reduce((sum, { requirement }) => sum + requirement.memoryMib, 0) <= capacityMib);
          }
        },
      ),
    );
  });

  it('counts what the machine really has, with the VMM beside the guest', () => {
    const wanted = { vcpus: 1, memoryMib: 100, rootDiskMib: 8 };
    const load = { others: [], capacityMib: 4096 };
    assert.throws(() => admit(wanted, { ...load, availableMib: 120 }), code('InsufficientInstanceCapacity'));
    admit(wanted, { ...load, availableMib: 400 });
  });

  it('gives memory away once, also while those it was given to have not touched it', () => {
    const wanted = { vcpus: 1, memoryMib: 100, rootDiskMib: 8 };
    const fresh = { state: 'running' as const, requirement: wanted, residentMib: 20 };
    const load = { capacityMib: 4096, availableMib: 400 };
    admit(wanted, { ...load, others: [fresh] });
    assert.throws(
      () => admit(wanted, { ...load, others: [fresh, fresh] }),
      code('InsufficientInstanceCapacity'),
    );
    const full = { ...fresh, residentMib: 190 };
    admit(wanted, { ...load, others: [full, full] });
    admit(wanted, { ...load, others: [{ ...fresh, state: 'stopped' }, fresh] });
  });
});

describe('limits', () => {
  it('pin an image for its launch, for a bounded time', () => {
    let now = 0;
    const pins = new ImagePins(() => now);
    pins.pin('i-1', 'a');
    pins.pin('i-2', 'b');
    pins.unpin('i-2');
    assert.deepEqual(pins.digests(), ['a']);
    now += imagePinMsMax;
    assert.deepEqual(pins.digests(), []);
  });

  it('end a copy that stands still, and no other', () => {
    let now = 0;
    const standstill = new Standstill(100, () => now);
    for (const mark of ['a', 'a', 'b', 'c', 'c']) {
      standstill.look(mark);
      now += 60;
    }
    assert.throws(() => standstill.look('c'), StoodStill);
  });

  it('are known again of a VMM that runs, and of nothing else', () => {
    const args = ['qemu', '-smp', '2', '-m', '96', '-rtc', 'base=utc'];
    assert.deepEqual(requirementOfCommand(args), { vcpus: 2, memoryMib: 96, rootDiskMib: 1 });
    assert.equal(requirementOfCommand(['sh', '-c', 'x']), undefined);
  });

  it('keep tap names within what the kernel allows', () => {
    assert.ok(tapName('123456789', 36 ** 3).length <= 15);
  });
});
