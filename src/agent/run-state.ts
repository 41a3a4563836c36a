/** What a VMM says of its state, beyond whether its guest runs. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { runInfo } from './migration/facts.ts';
import type { Qmp } from './qmp.ts';
import type { Vm } from './vm.ts';

const blockInfo = z.array(z.looseObject({ 'io-status': z.string().optional() }));
const cpuInfo = z.array(z.looseObject({ 'thread-id': z.number() }));

/** What a look at a VM reads. */
export type Looked = Pick<Vm, 'monitor' | 'watch'> & { readonly record: Pick<Vm['record'], 'process'> };

/** QEMU's name for the state of its guest. */
export const runStateOf = async (monitor: Pick<Qmp, 'execute'>, timeoutMs?: number): Promise<string> =>
  runInfo.parse(await monitor.execute('query-status', {}, timeoutMs)).status;

/** Of a VMM in this state: whether it stands still because a write found no room. Undefined in states that say nothing of disks. */
export const standsStillWithoutSpace = async (
  monitor: Pick<Qmp, 'query'>,
  runState: string,
): Promise<boolean | undefined> => {
  if (runState !== 'io-error') return undefined;
  const devices = await monitor.query(blockInfo, 'query-block');
  return devices.some((device) => device['io-status'] === 'nospace');
};

/** CPU time that the guest's own processors have used. */
export const processorNanoseconds = async (vm: Looked): Promise<number> => {
  const processors = await vm.monitor.query(cpuInfo, 'query-cpus-fast');
  const times = await Promise.all(processors.map((cpu) => threadNanoseconds(vm, cpu['thread-id'])));
  return times.reduce((sum, time) => sum + time, 0);
};

const threadNanoseconds = async (vm: Looked, thread: number): Promise<number> => {
  const text = await readFile(`/proc/${vm.record.process?.pid}/task/${thread}/schedstat`, 'utf8').catch(
    () => '0',
  );
  return Number(text.split(' ')[0]);
};
