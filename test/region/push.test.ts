import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { type Device, Pusher } from '#region/push.ts';

const stateOf = (vpcId: string, version: number): VpcState => ({
  vpcId,
  vni: 1,
  version,
  cidrs: ['10.0.0.0/16'],
  subnets: [],
  groups: [],
  ports: [],
  dnsServers: [],
  domainName: 'test',
  mtu: 1450,
});

interface Fake extends Device {
  readonly applied: number[];
  readonly removed: string[];
  wanted: boolean;
  answer: () => Promise<readonly string[]>;
}

const fake = (name: string): Fake => {
  const device: Fake = {
    name,
    applied: [],
    removed: [],
    wanted: true,
    answer: async () => [],
    wants: () => device.wanted,
    apply: async (state) => {
      const unreachable = await device.answer();
      device.applied.push(state.version);
      return unreachable;
    },
    remove: async (vpcId) => {
      device.removed.push(vpcId);
    },
  };
  return device;
};

/** A store whose version grows by hand, and a pusher over it. */
const setUp = (waitMsMax = 5_000) => {
  const store = { version: 1, compiled: 0, gone: false };
  const pusher = new Pusher({
    compile: async (vpcId) => {
      store.compiled += 1;
      return store.gone ? undefined : stateOf(vpcId, store.version);
    },
    waitMsMax,
  });
  return { store, pusher };
};

const until = async (condition: () => boolean): Promise<void> => {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'the condition did not come true');
    await new Promise((wake) => setImmediate(wake));
  }
};

test('many changes at once cost few rounds, and everyone is answered with a state that has his change', async () => {
  const { store, pusher } = setUp();
  const device = fake('a');
  pusher.add(device);
  const answers = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const mine = ++store.version;
      const result = await pusher.push('vpc-1');
      return (result?.state.version ?? 0) >= mine;
    }),
  );
  assert.ok(answers.every(Boolean));
  assert.ok(store.compiled <= 3, `${store.compiled} rounds`);
  assert.equal(device.applied.at(-1), store.version);
});

test('a device that has the version is not told again; one that forgot is', async () => {
  const { pusher } = setUp();
  const device = fake('a');
  pusher.add(device);
  await pusher.push('vpc-1');
  await pusher.push('vpc-1');
  assert.deepEqual(device.applied, [1]);
  pusher.forget(device);
  await pusher.push('vpc-1');
  assert.deepEqual(device.applied, [1, 1]);
});

test('a slow device delays one round only, and gets the newest state when it is back', async () => {
  const { store, pusher } = setUp(20);
  const [slow, fast] = [fake('slow'), fake('fast')];
  pusher.add(slow);
  pusher.add(fast);
  let release = (): void => undefined;
  slow.answer = () =>
    new Promise((resolve) => {
      release = () => resolve([]);
    });
  assert.deepEqual((await pusher.push('vpc-1'))?.unreachable, ['slow']);
  for (let n = 0; n < 5; n++) {
    store.version += 1;
    assert.deepEqual((await pusher.push('vpc-1'))?.unreachable, ['slow']);
  }
  assert.equal(fast.applied.at(-1), 6);
  assert.deepEqual(slow.applied, [], 'one call is out, no second');
  slow.answer = async () => [];
  release();
  await until(() => slow.applied.at(-1) === 6);
  assert.deepEqual(slow.applied, [1, 6], 'the states in between are skipped');
});

test('a device that fails or is told in part is not confirmed', async () => {
  const { pusher } = setUp();
  const [broken, partial] = [fake('broken'), fake('partial')];
  broken.answer = () => Promise.reject(new Error('down'));
  partial.answer = async () => ['host 2'];
  pusher.add(broken);
  pusher.add(partial);
  assert.deepEqual((await pusher.push('vpc-1'))?.unreachable, ['broken', 'host 2']);
  assert.equal(pusher.confirmed(broken).get('vpc-1'), 0);
  assert.equal(pusher.confirmed(partial).get('vpc-1'), 0);
});

test('what a device wants no more, or what is gone, is removed once', async () => {
  const { store, pusher } = setUp();
  const device = fake('a');
  pusher.add(device);
  await pusher.push('vpc-1');
  device.wanted = false;
  await pusher.push('vpc-1');
  await pusher.push('vpc-1');
  assert.deepEqual(device.removed, ['vpc-1']);
  device.wanted = true;
  await pusher.push('vpc-1');
  store.gone = true;
  assert.equal(await pusher.push('vpc-1'), undefined);
  assert.deepEqual(device.removed, ['vpc-1', 'vpc-1']);
  pusher.assume(device, ['vpc-9']);
  await pusher.push('vpc-9');
  assert.equal(device.removed.at(-1), 'vpc-9');
});

test('a store that fails is told to those who asked, and the next push works', async () => {
  let broken = true;
  const pusher = new Pusher({
    compile: async (vpcId) => {
      if (broken) throw new Error('no store');
      return stateOf(vpcId, 1);
    },
    waitMsMax: 100,
  });
  await assert.rejects(pusher.push('vpc-1'), /no store/);
  broken = false;
  assert.equal((await pusher.push('vpc-1'))?.state.version, 1);
});

test('a state that is too large for a message is not sent again until it changes', async () => {
  const { store, pusher } = setUp();
  const device = fake('a');
  let asked = 0;
  device.answer = async () => {
    asked += 1;
    throw new PandoError('MessageTooLarge', 'too large');
  };
  pusher.add(device);
  for (let n = 0; n < 5; n += 1) assert.deepEqual((await pusher.push('vpc-1'))?.unreachable, ['a']);
  assert.equal(asked, 1);
  store.version += 1;
  device.answer = async () => [];
  assert.deepEqual((await pusher.push('vpc-1'))?.unreachable, []);
});

test('a large VPC that changes without end rests between rounds, and no other waits for it', async () => {
  const rule = { protocol: '-1', cidr: '0.0.0.0/0' };
  const group = { groupId: 'sg-1', ingress: Array.from({ length: 200_000 }, () => rule), egress: [] };
  const compiled = { large: 0, small: 0 };
  let version = 0;
  const pusher = new Pusher({
    compile: async (vpcId) => {
      version += 1;
      compiled[vpcId === 'large' ? 'large' : 'small'] += 1;
      return { ...stateOf(vpcId, version), groups: vpcId === 'large' ? [group] : [] };
    },
    waitMsMax: 5_000,
  });
  pusher.add(fake('a'));
  let stopped = false;
  const churn = (async () => {
    while (!stopped) await pusher.push('large');
  })();
  // Its rest of two seconds a round lets the first two or three pass at once.
  const begunMs = performance.now();
  await until(() => compiled.large >= 2);
  for (let n = 0; n < 100; n += 1) await pusher.push('small');
  assert.ok(compiled.small >= 100);
  const roundsMax = 4 + Math.ceil((performance.now() - begunMs) / 2_000);
  assert.ok(compiled.large <= roundsMax, `${compiled.large} rounds of the large one, ${roundsMax} at most`);
  stopped = true;
  await churn;
});
