/**
 * What DescribeInstances takes of an account with a history: `node bench/describe.ts [RUNS]`. The real router, region and cell on simulated
 * hosts, in this process; requests one after another, as one client sends them. For `--cpu-prof`, and to compare two revisions side
 * by side (from a worktree each, by turns): figures of two machines do not compare.
 */

import { startRealCloud } from '../test/router/realCloud.ts';
import { median, runs } from './support/figures.ts';

const live = 36;
const ended = 600;
const warmUps = 20;
const times = runs(60);

const cloud = await startRealCloud({ checkedHosts: false });
try {
  const client = await cloud.account();
  const launched = await client.run({ MinCount: live, MaxCount: live });
  for (const { InstanceId = '' } of launched) await client.reaches(InstanceId, 'running');
  await cloud.quiet();
  await haveHistory();
  const rows = [`DescribeInstances, ${live} live and ${ended} ended`, `page of 100 of them`] as const;
  for (const [at, form] of ['', '&MaxResults=100'].entries()) {
    const { ms, cpuMs, bytes } = await measured(`Action=DescribeInstances&Version=2016-11-15${form}`);
    const sorted = ms.toSorted((a, b) => a - b);
    const worst = sorted[Math.floor(sorted.length * 0.9)] ?? 0;
    console.log(
      `${(rows[at] ?? '').padEnd(44)} p50 ${median(ms).toFixed(1).padStart(6)} ms  p90 ${worst.toFixed(1).padStart(6)} ms  CPU ${cpuMs.toFixed(1).padStart(6)} ms  ${bytes} bytes`,
    );
  }

  async function measured(form: string): Promise<{ ms: number[]; cpuMs: number; bytes: number }> {
    const ms: number[] = [];
    let bytes = 0;
    let cpu = process.cpuUsage();
    for (let at = -warmUps; at < times; at++) {
      if (at === 0) cpu = process.cpuUsage();
      const began = performance.now();
      const { status, body } = await client.send(form);
      if (status !== 200) throw new Error(body);
      if (at >= 0) ms.push(performance.now() - began);
      bytes = body.length;
    }
    const { user, system } = process.cpuUsage(cpu);
    return { ms, cpuMs: (user + system) / 1000 / times, bytes };
  }

  /** Copies of one that runs, as they are once they have ended. */
  async function haveHistory(): Promise<void> {
    const { db } = cloud.cell.services;
    const columns = await db.query<{ name: string }>(
      `select column_name as name from information_schema.columns where table_name = 'instances' and is_generated = 'NEVER'`,
    );
    const changed: Readonly<Record<string, string>> = {
      id: `'i-001' || lpad(to_hex(n), 14, '0')`,
      reservation_id: `'r-001' || lpad(to_hex(n), 14, '0')`,
      state: `'terminated'`,
      held: `'none'`,
      terminated_at: `now() - interval '10 minutes'`,
      created_at: `created_at - interval '1 hour' + n * interval '1 second'`,
    };
    const names = columns.map(({ name }) => name);
    const values = names.map((name) => changed[name] ?? `i."${name}"`);
    await db.query(
      `insert into instances (${names.map((name) => `"${name}"`).join()})
       select ${values.join()} from (select * from instances order by id limit 1) i, generate_series(1, $1::int) n`,
      [ended],
    );
    await db.query('analyze instances');
  }
} finally {
  await cloud.close();
}
