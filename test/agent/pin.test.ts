/** A host is pinned to its cell on its own disk, and serves no other one. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CellPin, cellOfIdentity } from '#agent/cell-pin.ts';
import { newCellId } from '#contracts/ids.ts';
import { Lab, type TestHost, until } from './lab.ts';

describe('the pin', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'pin-'));
  });
  after(() => rm(dir, { recursive: true }));
  const peer = 'spiffe://pando/cell/a-1';

  it('is taken from the first answer, learns what it lacked, and agrees with nothing else after', async () => {
    const pin = await CellPin.open(dir);
    await pin.accept(peer, { cellId: 'a' });
    await pin.accept(peer, { cellId: 'a', region: 'one', cellNumber: 1 });
    const again = await CellPin.open(dir);
    assert.deepEqual(again.current, { cellId: 'a', region: 'one', cellNumber: 1 });
    await again.accept(peer, { cellId: 'a' });
    for (const other of [{ cellId: 'b' }, { cellId: 'a', region: 'two' }, { cellId: 'a', cellNumber: 2 }])
      await assert.rejects(again.accept(peer, other), { code: 'Conflict' });
    assert.deepEqual((await CellPin.open(dir)).current, { cellId: 'a', region: 'one', cellNumber: 1 });
  });

  it('that was lost beside VMs is taken from their own cell alone', async () => {
    const own = await mkdtemp(join(dir, 'lost-'));
    await mkdir(join(own, 'vms', newCellId('instance', 2)), { recursive: true });
    await mkdir(join(own, 'vms', '.unfinished'));
    const pin = await CellPin.open(own);
    await assert.rejects(pin.accept(peer, { cellId: 'a', cellNumber: 1 }), { code: 'Conflict' });
    assert.equal((await CellPin.open(own)).current, undefined);
    await pin.accept(peer, { cellId: 'b', cellNumber: 2 });
    assert.equal(pin.current?.cellId, 'b');
  });

  it('has one winner among cells that answer at the same time', async () => {
    const pin = await CellPin.open(await mkdtemp(join(dir, 'two-')));
    const outcomes = await Promise.allSettled([
      pin.accept(peer, { cellId: 'a' }),
      pin.accept(peer, { cellId: 'b' }),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    assert.equal(pin.current?.cellId, 'a');
  });

  it('believes no answer that the certificate speaks against', async () => {
    const pin = await CellPin.open(await mkdtemp(join(dir, 'certified-')));
    await assert.rejects(pin.accept('spiffe://pando/cell/b/b-1', { cellId: 'a' }), { code: 'Conflict' });
    await pin.accept('spiffe://pando/cell/a/a-1', { cellId: 'a' });
    assert.deepEqual(['spiffe://pando/cell/a-1', 'spiffe://pando/router/-/r'].map(cellOfIdentity), [
      undefined,
      undefined,
    ]);
  });

  it('that cannot be read is not taken for none', async () => {
    await writeFile(join(dir, 'cell.json'), '{');
    await assert.rejects(CellPin.open(dir), /cannot be read/);
  });

  it('is changed by its cell alone, under a generation, and only where there are no VMs', async () => {
    const own = await mkdtemp(join(dir, 'moved-'));
    const pin = await CellPin.open(own);
    const [a, b] = ['spiffe://pando/cell/a/a-1', 'spiffe://pando/cell/b/b-1'];
    await pin.accept(a, { cellId: 'a', cellNumber: 1, region: 'one' });
    const to = { cellId: 'b', cellNumber: 2, region: 'one' };
    await assert.rejects(
      pin.rehome(to, 2, () => false),
      { code: 'IncorrectState' },
    );
    await assert.rejects(
      pin.rehome(to, 1, () => true),
      { code: 'StaleEpoch' },
    );
    pin.checkPeer(a);
    await Promise.all([pin.rehome(to, 2, () => true), pin.rehome(to, 2, () => true)]);
    await assert.rejects(
      pin.rehome({ cellId: 'c', cellNumber: 3 }, 2, () => true),
      { code: 'StaleEpoch' },
    );
    assert.throws(() => pin.checkPeer(a), { code: 'AccessDenied' });
    const again = await CellPin.open(own);
    assert.deepEqual(again.current, { ...to, generation: 2 });
    await assert.rejects(again.accept(a, { cellId: 'a', cellNumber: 1, region: 'one' }), {
      code: 'Conflict',
    });
    await again.accept(b, { cellId: 'b', cellNumber: 2, region: 'one' });
    assert.deepEqual((await CellPin.open(own)).current, { ...to, generation: 2 });
  });

  it('refuses instances of another cell', async () => {
    const pin = await CellPin.open(await mkdtemp(join(dir, 'ids-')));
    await pin.accept(peer, { cellId: 'a', cellNumber: 7 });
    pin.checkInstance(newCellId('instance', 7));
    assert.throws(() => pin.checkInstance(newCellId('instance', 8)), { code: 'AccessDenied' });
  });
});

describe('a host whose processors are of another cell', () => {
  let lab: Lab;
  let host: TestHost;
  before(async () => {
    lab = await Lab.open();
    host = await (await lab.host()).start();
  });
  after(async () => {
    lab.cellId = 'a';
    await lab.close();
  });

  it('serves none of their calls, keeps its VMs, and serves its own cell again', async () => {
    const { instanceId } = await host.launch();
    host.stop();
    const path = join(host.config.stateDir, 'cell.json');
    const before = await readFile(path, 'utf8');
    lab.cellId = 'b';
    await host.start();
    // The lab's cell notes the stream when it is greeted; this is a cell that calls before it is known whose it is.
    const stranger = await lab.caller(host.config.hostId);
    await assert.rejects(stranger.call('vm.describe', { instanceId }, { timeoutMs: 5_000 }));
    await until('the stream is closed', () => !lab.connected(host.config.hostId));
    assert.equal(await readFile(path, 'utf8'), before);
    lab.cellId = 'a';
    await until('its own cell hears it', async () => {
      const caller = await lab.caller(host.config.hostId);
      const described = caller.call('vm.describe', { instanceId }, { timeoutMs: 1_000 });
      const report = await described.catch(() => undefined);
      return report?.state === 'running';
    });
  });
});
