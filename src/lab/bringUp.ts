/** Brings a run up, or back up: wiring, certificates, processes. What stands already stays as it is. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { compileCode } from '#node/compiledCode.ts';
import type { RunDirectory } from '#node/directory.ts';
import { closed, passable } from '#node/ownership.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import type { ProcessList } from '#node/processSpec.ts';
import type { SupervisedStatus } from '#node/supervised.ts';
import { ensureSupervisor, waitReady } from '#node/supervisorProcess.ts';
import { idsMissing } from '#node/users.ts';
import { ensureDatabases } from './externalPostgres.ts';
import { planLab } from './plan.ts';
import { planProcesses } from './processes.ts';
import type { RunRecord } from './runRecord.ts';
import { ensureTopology } from './topology.ts';
import { ensureWebhookFence } from './webhookFence.ts';

type Log = (line: string) => void;

const sealKeyBytes = 32;

const passages = (directory: RunDirectory): string[] => [
  directory.root,
  directory.run,
  directory.postgresRoot,
  dirname(directory.keyFile),
  dirname(directory.postgres('region').socketDir),
  dirname(directory.state('region')),
  dirname(directory.caSocket),
  dirname(directory.webhooksSocket),
];

/** Whoever uses them cannot make them: the directory is root's. */
function makeKeys({ sealKey, webhooksKey }: RunDirectory): void {
  if (!existsSync(sealKey)) writeAtomicallySync(sealKey, randomBytes(sealKeyBytes));
  if (!existsSync(webhooksKey)) writeAtomicallySync(webhooksKey, randomBytes(sealKeyBytes).toString('hex'));
}

/** Processes whose code could not be compiled beforehand run all the same. */
const compiled = (directory: RunDirectory, { processes }: ProcessList, log: Log): Promise<void> =>
  compileCode(directory.compiled, processes).catch((error: unknown) =>
    log(`processes will need more memory, since their code was not compiled: ${error}`),
  );

/** Starts what is missing of the run and waits until every process is ready. */
export async function bringUp(
  directory: RunDirectory,
  run: RunRecord,
  log: Log,
): Promise<SupervisedStatus[]> {
  const plan = planLab(run);
  for (const map of ['/proc/self/uid_map', '/proc/self/gid_map']) {
    const objection = idsMissing(readFileSync(map, 'utf8'), run.index);
    if (objection !== undefined) throw new Error(objection);
  }
  mkdirSync(directory.log, { recursive: true, mode: 0o700 });
  // Processes and VMs run as users of their own, and must reach their files below: they may pass through, not look.
  for (const path of passages(directory)) passable(path);
  for (const name of ['gateway', ...plan.hosts.map(({ number }) => `card-${number}`)])
    closed(directory.state(name));
  makeKeys(directory);
  await ensureTopology(plan, log);
  await ensureWebhookFence(plan, run.webhookRanges ?? []);
  await ensureDatabases(run);
  const openPki = (keepFormer: boolean): Promise<PkiFiles> =>
    PkiFiles.open(directory.pki, `pando ${plan.prefix}`, { socket: directory.caSocket, keepFormer });
  const pki = await openPki(true);
  const list = await planProcesses({ directory, plan, run, pki });
  writeAtomicallySync(directory.processList, JSON.stringify(list, null, 2));
  await compiled(directory, list, log);
  if (await ensureSupervisor(directory)) log('a supervisor was started');
  const states = await waitReady(directory, log);
  // Processes of the last release understand only its form of identities: the new ones are issued when all run this code.
  if (pki.keptFormer) await planProcesses({ directory, plan, run, pki: await openPki(false) });
  return states;
}
