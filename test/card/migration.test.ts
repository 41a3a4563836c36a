import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const vxlanPort = 4789;
/** Sends numbered datagrams, 1,000 a second, until it is told to end (SIGTERM): then it says how many they were. */
const sender = (ip: string, tag: string): string => `
  const s = require('node:dgram').createSocket('udp4'); let n = 0; const t0 = performance.now();
  const t = setInterval(() => {
    while (n < ${sentMax} && n < performance.now() - t0) s.send('${tag} ' + n++ + ' '.repeat(600), 5000, '${ip}');
  }, 1);
  process.on('SIGTERM', () => { clearInterval(t); process.stdout.write(String(n)); setTimeout(() => s.close(), 100); });`;
/** As many as it would send in a minute, which a busy machine may need for the change. */
const sentMax = 60_000;
const receiver = `
  const s = require('node:dgram').createSocket({ type: 'udp4', recvBufferSize: 4194304 });
  s.on('message', (m) => process.stdout.write(m.toString().trim() + '\\n'));
  s.bind(5000);`;

/** How often a port that is plugged lets a packet pass all the same (plugs.ts). */
const pluggedPacketMs = 100;

describe('packet path of a migration', () => {
  let lab: Lab;
  let source: LabCard;
  let target: LabCard;
  let third: LabCard;
  let here: LabVm;
  let there: LabVm;
  let near: LabVm;
  let far: LabVm;
  let beside: LabVm;

  before(async () => {
    lab = await Lab.create();
    [source, target, third] = await Promise.all([lab.card('c1'), lab.card('c2'), lab.card('c3')]);
    const port = portOf(10, source.vtep);
    here = await lab.vm('x1', source, port);
    there = await lab.vm('x2', target, { ...port, epoch: 2 });
    near = await lab.vm('near', source, portOf(11, source.vtep));
    far = await lab.vm('far', third, portOf(12, third.vtep));
    beside = await lab.vm('beside', target, portOf(13, target.vtep));
    const state = vpcOf('vpc-1', 500, 1, [port, near.port, far.port, beside.port]);
    for (const card of [source, target, third]) await card.client.call('card.applyVpc', { state });
    await attach(source, 'vpc-1', here);
    await attach(source, 'vpc-1', near);
    await attach(third, 'vpc-1', far);
    await attach(target, 'vpc-1', beside);
  });
  after(() => lab[Symbol.asyncDispose]());

  const collect = (vm: LabVm): { lines: () => string[]; child: ChildProcess } => {
    const child = vm.start(process.execPath, ['-e', receiver]);
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    return { lines: () => text.split('\n').filter((line) => line !== ''), child };
  };
  const numbers = (lines: string[], tag: string): number[] =>
    lines.filter((line) => line.startsWith(`${tag} `)).map((line) => Number(line.split(' ')[1]));

  it('loses nothing and keeps the order from near, far and the target’s own VMs, while the port moves through the queue', async () => {
    const eniId = here.port.eniId;
    const [old, fresh] = [collect(here), collect(there)];
    await attach(target, 'vpc-1', there, false);
    const probe = 'socat -u - UDP:10.0.0.10:5000';
    await eventually(
      () => near.run(`echo ready | ${probe}`).then(() => old.lines()),
      (lines) => lines.includes('ready'),
    );
    // The first packets to an unknown address wait in the sender's own kernel, which may let others pass meanwhile.
    for (const [at, vm] of [far, beside].entries())
      await eventually(
        () => vm.run(`echo ready | ${probe}`).then(() => old.lines()),
        (lines) => lines.filter((line) => line === 'ready').length > at + 1,
      );
    const senders = { near, far, beside };
    const sending = Object.entries(senders).map(([tag, vm]) => ({
      tag,
      child: vm.start(process.execPath, ['-e', sender('10.0.0.10', tag)]),
    }));
    await eventually(
      async () => old.lines().length,
      (lines) => lines > 500,
    );

    const steps: string[] = [];
    const began = performance.now();
    const ended = (step: string): number =>
      steps.push(`${step} ${fresh.lines().at(-1)} at ${(performance.now() - began).toFixed(0)} ms`);
    const own = { ip: target.vtep, port: vxlanPort };
    const queue = await target.client.call('card.openQueue', { eniId, mode: 'hold', passTo: own });
    await source.client.call('card.redirectPort', { eniId, to: queue });
    const flows = await source.client.call('card.exportFlows', { eniId });
    await target.client.call('card.importFlows', { eniId, ...flows });
    const held = await eventually(
      () => target.client.call('card.setQueue', { eniId, mode: 'hold' }),
      (counters) => counters.held > 400,
    );
    assert.equal(held.forwarded, 0);
    assert.equal(fresh.lines().length, 0);
    await target.client.call('card.setQueue', { eniId, mode: 'pass' });
    ended('released');
    const pluggedAt = performance.now();
    for (const { client } of [target, source]) await client.call('card.plugPort', { eniId });
    ended('held where it is sent');
    await target.client.call('card.setQueue', { eniId, mode: 'pass', idleMs: 5 });
    ended('queue empty');
    await Promise.all([
      source.client.call('card.redirectPort', { eniId, to: own }),
      target.client.call('card.activatePort', { eniId }),
    ]);
    ended('direct');
    const earlyMax = 1 + Math.floor((performance.now() - pluggedAt) / pluggedPacketMs);
    const closed = await target.client.call('card.closeQueue', { eniId, idleMs: 100 });
    assert.deepEqual([closed.held, closed.dropped], [0, 0]);
    assert.ok(closed.forwarded > 400);

    const state = vpcOf(
      'vpc-1',
      500,
      2,
      [there.port, near.port, far.port, beside.port].map((port) =>
        port === there.port ? { ...port, vtep: target.vtep } : port,
      ),
    );
    for (const card of [target, third, source]) await card.client.call('card.applyVpc', { state });
    ended('declared');
    await source.client.call('card.detachPort', { eniId, forwardTo: target.vtep });
    const sent = await Promise.all(
      sending.map(async ({ tag, child }) => {
        assert.ok(child.stdout !== null);
        const said = text(child.stdout);
        child.kill('SIGTERM');
        return { tag, count: Number(await said) };
      }),
    );
    await eventually(
      async () => [...old.lines(), ...fresh.lines()].filter((line) => line !== 'ready').length,
      (lines) => lines >= sent.reduce((sum, { count }) => sum + count, 0),
    );
    for (const { tag, count } of sent) {
      const after = numbers(fresh.lines(), tag);
      const all = [...numbers(old.lines(), tag), ...after];
      assert.deepEqual(
        [...all].sort((x, y) => x - y),
        Array.from({ length: count }, (_, at) => at),
      );
      // The first packet that the target holds back for its own VMs still passes, and one more each tenth of a second: they may pass those
      // that are on their way (plugs.ts).
      const others = [...all];
      for (let early = 0; tag === 'beside' && early < earlyMax; early++) {
        const at = others.findIndex((value, n) => value > (others[n + 1] ?? count));
        if (at >= 0) others.splice(at, 1);
      }
      const late = others.flatMap((value, at) =>
        value < (others[at - 1] ?? -1) ? [[others[at - 1], value]] : [],
      );
      assert.deepEqual(
        late,
        [],
        `order of ${tag}; when a step ended, this had come last: ${steps.join(', ')}`,
      );
    }
    assert.ok((await there.run('ping -c 1 -W 2 10.0.0.11')).ok);
    const router = async (vm: LabVm): Promise<string | undefined> =>
      /lladdr (\S+)/.exec((await vm.run('ip -4 neigh show nud reachable nud stale nud delay')).out)?.[1];
    const known = await router(near);
    assert.ok(known !== undefined);
    assert.equal(await router(there), known, 'a VM that moved must not need to look its router up again');
  });

  it('carries TCP through the queue with right checksums, and gives the port back to its tap', async () => {
    const { eniId } = near.port;
    const script = 'head -c 3000000 /dev/zero | tr "\\0" x';
    const expected = (await far.run(`${script} | md5sum`)).out;
    const send = `${script} | socat -t 10 - TCP:10.0.0.11:8000,connect-timeout=3`;
    const moved = await lab.vm('y', target, { ...near.port, epoch: 2 });
    moved.start('socat', ['TCP-LISTEN:8000,fork,reuseaddr', 'SYSTEM:md5sum']);
    await attach(target, 'vpc-1', moved);
    const passTo = { ip: target.vtep, port: vxlanPort };
    const queue = await target.client.call('card.openQueue', { eniId, mode: 'pass', passTo });
    await source.client.call('card.redirectPort', { eniId, to: queue });
    await eventually(
      () => far.run(send, 30_000),
      ({ out }) => out === expected,
    );
    const { forwarded } = await target.client.call('card.setQueue', { eniId, mode: 'pass' });
    assert.ok(forwarded > 1000, `${forwarded} datagrams of at most the overlay's size`);
    await target.client.call('card.detachPort', { eniId });
    await source.client.call('card.redirectPort', { eniId });
    await target.client.call('card.closeQueue', { eniId, idleMs: 10 });
    assert.ok((await far.run('ping -c 1 -W 2 10.0.0.11')).ok);
  });

  it('takes a redirection back that nobody keeps, gives back what nobody asks for, and holds no more for a guest that is here', async () => {
    const { eniId } = near.port;
    const [old, fresh] = [collect(near), collect(await lab.vm('z', target, { ...near.port, epoch: 3 }))];
    const probe = (text: string) => far.run(`echo ${text} | socat -u - UDP:10.0.0.11:5000`);
    await eventually(
      () => probe('ready').then(() => old.lines()),
      (lines) => lines.includes('ready'),
    );
    await target.client.call('card.attachPort', {
      ...{ vpcId: 'vpc-1', port: { ...near.port, epoch: 3 }, tap: 'tapz', activate: false },
    });
    const [own, back] = [target, source].map(({ vtep }) => ({ ip: vtep, port: vxlanPort }));
    assert.ok(own && back);
    const lapse = { ms: 1_000, passTo: back };
    const open = () => target.client.call('card.openQueue', { eniId, mode: 'hold', passTo: own, lapse });
    const queue = await open();

    // Whoever began the switch is gone before the guest was handed over.
    await source.client.call('card.redirectPort', { eniId, to: queue, lapseMs: 500 });
    await probe('held');
    const held = await target.client.call('card.setQueue', { eniId, mode: 'hold' });
    assert.equal(held.held, 1);
    await eventually(
      async () => old.lines(),
      (lines) => lines.includes('held'),
    );
    await probe('direct');
    await eventually(
      async () => old.lines(),
      (lines) => lines.includes('direct'),
    );
    assert.deepEqual(fresh.lines(), []);

    // Handed over: it stays, also when it is said late, of a redirection that has been replaced.
    await source.client.call('card.redirectPort', { eniId, to: queue, lapseMs: 300 });
    await source.client.call('card.redirectPort', { eniId, to: queue, keep: true });
    await target.client.call('card.setQueue', { eniId, mode: 'pass', settled: true });
    await open();
    const arrives = async (text: string): Promise<void> => {
      await probe(text);
      await eventually(
        async () => fresh.lines(),
        (lines) => lines.includes(text),
      );
    };
    await arrives('settled');
    await new Promise((resolve) => setTimeout(resolve, 400));
    await arrives('kept');
    await source.client.call('card.redirectPort', { eniId, to: own });
    await source.client.call('card.redirectPort', { eniId, to: queue, keep: true });
    await target.client.call('card.activatePort', { eniId });
    await target.client.call('card.closeQueue', { eniId, idleMs: 10 });
    await arrives('direct');
    assert.ok(!old.lines().includes('settled'));

    // The card stands still until after the time of its redirection: what was said to it meanwhile counts.
    const lapseMs = 2_500;
    await source.client.call('card.redirectPort', { eniId, to: own, lapseMs });
    source.signal('SIGSTOP');
    const kept = source.client.call('card.redirectPort', { eniId, to: own, keep: true });
    await new Promise((resolve) => setTimeout(resolve, lapseMs + 500));
    source.signal('SIGCONT');
    await kept;
    await arrives('stood still');
  });
});
