/** How much of the machine a test file takes, and what may run beside it. */

export interface Share {
  /** Processors that it keeps busy on average: what mostly waits has few. */
  readonly cores: number;
  /** How long it takes on two processors, when that is long: the longest are started first. */
  readonly seconds: number;
  /** It measures latencies or counts packets: nothing runs beside it but one file that sleeps. */
  readonly alone: boolean;
  /** It is on real parts (namespaces, virtual machines): two such files at a time. */
  readonly real: boolean;
}

const realParts = [
  ...['e2e', 'images', 'agent', 'card', 'gateway', 'lab'],
  ...['cell/fault-matrix-real', 'cell/critical-real'],
];

const usual: Share = { cores: 0.7, seconds: 5, alone: false, real: false };

/** A whole region: some twenty processes. */
const region: Partial<Share> = { cores: 1.3, seconds: 30 };
/** Nothing fits beside it, on any machine. */
const wholeMachine: Partial<Share> = { alone: true, cores: 1_000 };
/** Each ping of a live migration counts there, each packet, or each millisecond; what peers may wait at most (S7.4) is one of them. */
const alone: Partial<Share> = { alone: true };

/** It waits for leases to lapse, for time-outs, for retransmissions. One on namespaces alone may be beside any others on real parts. */
const waits = (seconds: number, cores = 0.4): Partial<Share> => ({ seconds, cores, real: false });

/** What differs from the usual, by the file's path without `.test.ts`. `--times` tells what a file takes. */
const known: Readonly<Record<string, Partial<Share>>> = {
  'agent/disk-full': { cores: 0.4 },
  'agent/ended': { cores: 0.3 },
  'agent/handover': alone,
  'agent/pressure/real': alone,
  'agent/vmm-fence': waits(36, 0.3),
  'base/postgres/faults': waits(18, 0.3),
  'base/replicas': waits(11, 0.3),
  'card/dataPath': { cores: 0.3 },
  'card/guestServices': alone,
  'card/ipv6': { cores: 0.3 },
  'card/metadata/stockTools': { cores: 0.3 },
  'card/migration': alone,
  'card/program/rollout': { seconds: 90, cores: 0.5 },
  'card/tracking': waits(90, 0.2),
  'cell/critical-alone': alone,
  'cell/critical-real': alone,
  'cell/fault-matrix': { seconds: 160, cores: 1 },
  'cell/homes': { seconds: 55, cores: 0.4 },
  'cell/mending': waits(46, 0.3),
  'cell/notices/companions': waits(46, 0.3),
  'cell/notices/process': waits(36),
  'cell/overtaken': waits(19, 0.3),
  'cell/store-faults': waits(59, 0.3),
  'cell/workflow/fault-matrix': waits(106, 0.2),
  'cell/workflow/retries': waits(22, 0.3),
  'cell/workflow/schedules': { seconds: 45, cores: 0.4 },
  'cell/zombie': waits(56, 0.3),
  'chaos/storm': { seconds: 45, cores: 1.3 },
  'cli/app': waits(25, 0.3),
  'cli/commands': { seconds: 37 },
  'cli/hosts': waits(32),
  'cli/simulated': { seconds: 70, cores: 0.5 },
  'cli/waiters': { seconds: 60, cores: 0.5 },
  'e2e/cell-life': { seconds: 190 },
  'e2e/first-vm': { seconds: 98 },
  'e2e/leak': { seconds: 99, cores: 0.8 },
  'e2e/loop': alone,
  'e2e/migration': alone,
  'e2e/network': { seconds: 69 },
  'e2e/rebuild': alone,
  'e2e/restart': { seconds: 50 },
  'e2e/spread-repair': alone,
  'e2e/upgrade': alone,
  'gateway/gateway': { cores: 0.3 },
  'node/supervisor': waits(32, 0.3),
  'region/rollouts/engine': { seconds: 60, cores: 0.5 },
  'region/rollouts/replicas': waits(35, 0.3),
  'router/realHostile': { seconds: 100, cores: 0.6 },
  'simulation/seeds': { seconds: 65, cores: 0.8 },
};

/** `name`: the file's path below `test/`. Soaks have the machine for themselves. */
export function shareOf(name: string): Share {
  const path = name.replace(/(\.soak)?\.test\.ts$/, '');
  const isOn = (part: string): boolean => path === part || path.startsWith(`${part}/`);
  return {
    ...usual,
    real: realParts.some(isOn),
    ...(isOn('e2e') ? region : {}),
    ...(name.endsWith('.soak.test.ts') ? wholeMachine : {}),
    ...known[path],
  };
}
