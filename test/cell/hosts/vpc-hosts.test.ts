/** Which hosts a push tells: the store is read now and then, and no host with a port is ever left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Places } from '#base/network/places.ts';
import { VpcHosts } from '#cell/hosts/vpc-hosts.ts';
import { vpcHostsReadEveryMs } from '#cell/limits.ts';
import type { Sql } from '#cell/store/sql.ts';
import type { VpcPort } from '#contracts/network.ts';

const cellNumber = 2;
const vtepOf = (host: number): string => `198.18.0.${host}`;

const portOn = (host: number, cell: number, at: number): VpcPort => ({
  ...{
    eniId: `eni-${at}`,
    mac: `02:00:00:00:00:0${at}`,
    ip: `10.0.0.${at}`,
    subnetId: 'subnet-1',
    groupIds: [],
  },
  ...{ instanceId: `i-${cell.toString(16).padStart(3, '0')}000000000000${at}`, sourceDestCheck: true },
  ...{ vtep: vtepOf(host), epoch: 1 },
});

const placesOf = (ports: readonly VpcPort[], version: number): Places =>
  new Places().apply({ vpcId: 'vpc-1', version, complete: true, set: [...ports], removed: [] });

/** A store that says which hosts have a port, or are getting one. */
const setUp = () => {
  const state = { hosts: [] as number[], reads: 0, nowMs: 0 };
  const query = async () => {
    state.reads++;
    return state.hosts.map((host) => ({ host_id: `h-${host}`, vtep: vtepOf(host) }));
  };
  // The one statement that is asked.
  const db = { query } as unknown as Sql;
  const hosts = new VpcHosts({ db, cellNumber, now: () => state.nowMs });
  const of = (places: Places) => hosts.of({ vpcId: 'vpc-1', places });
  return { state, hosts, of };
};

test('the store is read once in a while, and at once for a port on a host that it did not name', async () => {
  const { state, of } = setUp();
  state.hosts = [1];
  assert.deepEqual(await of(placesOf([portOn(1, cellNumber, 1)], 1)), ['h-1']);
  assert.deepEqual(await of(placesOf([portOn(1, cellNumber, 1)], 2)), ['h-1']);
  assert.equal(state.reads, 1);
  state.hosts = [1, 3];
  const both = placesOf([portOn(1, cellNumber, 1), portOn(3, cellNumber, 2)], 3);
  assert.deepEqual(await of(both), ['h-1', 'h-3']);
  assert.equal(state.reads, 2);
  state.hosts = [1, 3, 4];
  state.nowMs += vpcHostsReadEveryMs;
  assert.deepEqual(await of(both), ['h-1', 'h-3', 'h-4'], 'one that is getting a port');
  assert.equal(state.reads, 3);
});

test('ports of other cells are not looked for here', async () => {
  const { state, of } = setUp();
  state.hosts = [1];
  const places = placesOf([portOn(1, cellNumber, 1), portOn(9, cellNumber + 1, 2)], 1);
  assert.deepEqual(await of(places), ['h-1']);
  assert.deepEqual(await of(places), ['h-1']);
  assert.equal(state.reads, 1);
});

test('property: a host with a placed port is told whenever it got it, and one that was getting it after the while', async () => {
  const step = fc.record({
    getting: fc.uniqueArray(fc.integer({ min: 1, max: 6 })),
    placed: fc.uniqueArray(fc.integer({ min: 1, max: 6 })),
    passMs: fc.integer({ min: 0, max: vpcHostsReadEveryMs }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
      const { state, of } = setUp();
      const since = new Map<number, number>();
      for (const [at, { getting, placed, passMs }] of steps.entries()) {
        state.nowMs += passMs;
        const present = [...new Set([...getting, ...placed])];
        for (const host of since.keys()) if (!present.includes(host)) since.delete(host);
        for (const host of present) since.set(host, since.get(host) ?? state.nowMs);
        state.hosts = present;
        const told = await of(
          placesOf(
            placed.map((host) => portOn(host, cellNumber, host)),
            at + 1,
          ),
        );
        for (const host of placed) assert.ok(told.includes(`h-${host}`), 'a port is there');
        for (const [host, ms] of since)
          if (state.nowMs - ms >= vpcHostsReadEveryMs)
            assert.ok(told.includes(`h-${host}`), 'on its way long');
      }
    }),
  );
});
