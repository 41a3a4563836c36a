/** How much of the machine a test file takes, and what may run beside it. */

export interface Share {
  /** Processors that it keeps busy on average: what is mostly waiting has little. */
  readonly cores: number;
  /** How long it takes on two processors, when that is long: the longest are started first. */
  readonly seconds: number;
  /** It measures latencies or counts packets: nothing runs beside it. */
  readonly alone: boolean;
  /** It is on real parts (namespaces, virtual machines): one such file at a time. */
  readonly real: boolean;
}

const realParts = [
  'e2e',
  'images',
  'agent',
  'card',
  'gateway',
  'lab',
  'cell/fault-matrix-real',
  'cell/critical-real',
];

const usual: Share = { cores: 1, seconds: 5, alone: false, real: false };

/** What differs from the usual, by the file's path without `.test.ts`. Measured by `--times`. */
const known: Readonly<Record<string, Partial<Share>>> = {
  'e2e/migration': { alone: true, seconds: 50 },
};

/** `name`: the file's path below `test/`. */
export function shareOf(name: string): Share {
  const path = name.replace(/(\.soak)?\.test\.ts$/, '');
  const real = realParts.some((part) => path === part || path.startsWith(`${part}/`));
  return { ...usual, real, ...(name.endsWith('.soak.test.ts') ? { alone: true } : {}), ...known[path] };
}
