/** `pando status` of a simulated region. */
import { endpointOf } from '#lab/runRecord.ts';
import { simulatedProcess } from '#lab/simulatedRun.ts';
import { livingIn } from '#node/processIdentity.ts';
import { paint, print } from '../output.ts';
import { openRegion, type Region } from '../region.ts';
import { itemsAt, textAt } from '../xmlTree.ts';

const impatient = { timeoutMs: 3_000, unavailableMs: 0 };

/** How many instances are in each state; `undefined` when the API does not answer. */
async function instancesOf({ ec2 }: Region): Promise<Record<string, number> | undefined> {
  const counts: Record<string, number> = {};
  let token = '';
  do {
    const page = { MaxResults: '1000', ...(token === '' ? {} : { NextToken: token }) };
    const answer = await ec2.call('DescribeInstances', page, impatient).catch(() => undefined);
    if (answer === undefined) return undefined;
    for (const each of itemsAt(answer, 'reservationSet').flatMap((one) => itemsAt(one, 'instancesSet'))) {
      const state = textAt(each, 'instanceState', 'name');
      counts[state] = (counts[state] ?? 0) + 1;
    }
    token = textAt(answer, 'nextToken');
  } while (token !== '');
  return counts;
}

export async function simulatedStatus(
  { directory, run }: Pick<Region, 'directory' | 'run'>,
  json: boolean,
): Promise<void> {
  const { simulated } = run;
  const pid = livingIn(directory.pidFile(simulatedProcess))?.pid;
  const isUp = pid !== undefined && run.account !== undefined;
  const instances = isUp ? await instancesOf(openRegion({ dir: directory.root })) : undefined;
  const state = pid === undefined ? 'down' : instances === undefined ? 'not answering' : 'up';
  const endpoint = endpointOf(run);
  if (json) {
    const { ports: _, state: stateDirectory, ...settings } = simulated ?? {};
    const facts = { endpoint, region: run.regionName, cells: run.cells, stateDirectory, ...settings };
    print(JSON.stringify({ simulated: true, state, pid, ...facts, instances }, null, 2));
    return;
  }
  print(
    `${paint('bold', run.regionName)}  ${endpoint}  ${directory.root}  simulated${simulated?.anyRegion === true ? ', any region' : ''}${simulated?.instant === true ? ', instant' : ''}`,
  );
  print(
    pid === undefined
      ? '✘ down: pando up --simulated starts it'
      : `${state === 'up' ? '✔' : '✘'} ${state}, pid ${pid}, ${run.cells} zones`,
  );
  if (simulated !== undefined) print(`  state in ${simulated.state}${simulated.persist ? ', kept' : ''}`);
  if (instances !== undefined) {
    const counts = Object.entries(instances).map(([name, many]) => `${many} ${name}`);
    print(`  instances: ${counts.length === 0 ? 'none' : counts.join(', ')}`);
  }
}
