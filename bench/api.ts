/**
 * Requests per second through a router process: `node bench/api.ts [seconds]`. Region and cell are fakes behind real
 * RPC in this process, and requests are signed once and sent again, so that the router is what is measured. Compare two
 * revisions on one machine, side by side; the figures mean nothing across machines.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createAuthority } from '#base/pki.ts';
import { type Signed, sign } from '../test/router/cloud.ts';
import { FakeCell } from '../test/router/fakeCell.ts';
import { accountId, FakeRegion } from '../test/router/fakeRegion.ts';
import { startRouterProcess } from '../test/router/routerProcess.ts';

const secondsEach = Number(process.argv[2] ?? 5);
const concurrency = 16;
/** Of `/proc/<pid>/stat` on Linux, in all practical builds. */
const ticksPerSecond = 100;

const authority = await createAuthority('Bench authority');
const region = new FakeRegion(authority);
const cell = new FakeCell(authority, 1, 'lab-1a');
await Promise.all([region.start(), cell.start(2)]);
region.cells = () => [cell.record];
cell.seed(accountId, 100);
const router = await startRouterProcess(authority, region.port);
const agent = new Agent({ keepAlive: true, maxSockets: concurrency });

try {
  await untilReady();
  console.log(`${'action'.padEnd(34)} requests/s   p50 ms   p99 ms   router CPU s / 1000   bytes`);
  await measure('GetCallerIdentity (router alone)', 'Action=GetCallerIdentity&Version=2011-06-15', 'sts');
  await measure('DescribeRegions (region)', 'Action=DescribeRegions&Version=2016-11-15');
  await measure('DescribeInstances, 100 (cell)', 'Action=DescribeInstances&Version=2016-11-15');
} finally {
  agent.destroy();
  await router.stop();
  await Promise.all([region.kill(), cell.kill()]);
}

async function measure(name: string, form: string, service = 'ec2'): Promise<void> {
  const signed = sign(router.port, form, { service });
  await load(signed, 0.5);
  const cpuBefore = cpuSeconds();
  const startedMs = performance.now();
  const { latenciesMs, bytes } = await load(signed, secondsEach);
  const seconds = (performance.now() - startedMs) / 1000;
  const cpu = ((cpuSeconds() - cpuBefore) / latenciesMs.length) * 1000;
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number) =>
    (latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0).toFixed(1).padStart(8);
  const rate = (latenciesMs.length / seconds).toFixed(0).padStart(10);
  console.log(
    `${name.padEnd(34)} ${rate} ${at(0.5)} ${at(0.99)} ${cpu.toFixed(2).padStart(21)} ${String(bytes).padStart(7)}`,
  );
}

async function load(signed: Signed, seconds: number): Promise<{ latenciesMs: number[]; bytes: number }> {
  const latenciesMs: number[] = [];
  const endMs = performance.now() + seconds * 1000;
  let bytes = 0;
  const client = async () => {
    while (performance.now() < endMs) {
      const startedMs = performance.now();
      bytes = await send(signed);
      latenciesMs.push(performance.now() - startedMs);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  return { latenciesMs, bytes };
}

/** Sends one request; gives the length of its answer. */
function send({ method, path, headers, body }: Signed): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port: router.port, method, path, headers, agent },
      (response) => {
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
        });
        response.once('end', () =>
          response.statusCode === 200 ? resolve(length) : reject(new Error(`status ${response.statusCode}`)),
        );
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });
}

async function untilReady(): Promise<void> {
  for (let i = 0; i < 200; i += 1) {
    const health = await fetch(`http://127.0.0.1:${router.port}/_pando/health`);
    const { cells }: { cells: { live: boolean }[] } = JSON.parse(await health.text());
    if (cells.some(({ live }) => live)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the router did not become ready');
}

/** User and system time of the router. */
function cpuSeconds(): number {
  const fields = readFileSync(`/proc/${router.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
