/** `pando policy …`: how changes spread over the devices. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type PolicyVersion, policyName, policySpec } from '#contracts/rollout-policy.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';

interface Directory {
  readonly dir: string;
}

const example = {
  waves: [{ canaryCell: true }, { percent: 10 }, { percent: 40 }, { rest: true }],
  order: 'spread',
  concurrency: 16,
  bakeMs: 60_000,
  health: {
    checks: ['control', 'overlay', 'metadata', 'tcp', 'counters'],
    ...{ lossMax: 0.02, latencyFactorMax: 5, strikes: 2, everyMs: 2_000 },
  },
  errorThreshold: 0,
  onFailure: 'roll-back',
  unreachable: 'skip',
  confirmMs: 10_000,
  window: { days: ['mon', 'tue', 'wed', 'thu'], from: '09:00', to: '16:00' },
  approval: { before: 'second', by: ['operator'] },
};

/** JSON of a file, or of stdin for `-`. */
export async function readJson(file: string): Promise<unknown> {
  const content = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(() => {
    throw new UserError(`${file} cannot be read.`);
  });
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new UserError(`${file} is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}

export async function createPolicy(
  name: string | undefined,
  options: Directory & { readonly file?: string; readonly example: boolean },
): Promise<void> {
  if (options.example) return print(JSON.stringify(example, null, 2));
  if (name === undefined || options.file === undefined)
    throw new UserError('Say a name and --file FILE (- for stdin). --example prints a policy to begin with.');
  const known = policyName.safeParse(name);
  if (!known.success)
    throw new UserError(`A policy's name is 1 to 64 of letters, digits, ".", "_", "-", not ${name}.`);
  const spec = policySpec.safeParse(await readJson(options.file));
  if (!spec.success)
    throw new UserError(
      `This is no policy:\n${spec.error.issues.map(({ path, message }) => `  ${path.join('.') || 'it'}: ${message}`).join('\n')}`,
    );
  await withRegion(openRegion(options), async (region) => {
    const made = await region.call('operator.createPolicy', { name: known.data, spec: spec.data });
    print(`${made.name} version ${made.version}. Rollouts under way keep the version that they began with.`);
  });
}

export async function listPolicies(options: Directory & { readonly json: boolean }): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { policies } = await region.call('operator.policies', {});
    if (options.json) return print(JSON.stringify({ policies }, null, 2));
    print(table([['POLICY', 'VERSION', 'WAVES', 'BAKE', 'ON FAILURE', 'BY'], ...policies.map(rowOf)]));
  });
}

export async function showPolicy(
  name: string,
  options: Directory & { readonly version?: number; readonly json: boolean },
): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { policies } = await region.call('operator.policies', { name });
    const found = policies.find(
      ({ version }) => options.version === undefined || version === options.version,
    );
    if (found === undefined)
      throw new UserError(
        `${name} has no version ${options.version}. It has: ${policies.map(({ version }) => version).join(' ')}`,
      );
    if (options.json) return print(JSON.stringify(found, null, 2));
    print(
      `${found.name} version ${found.version} of ${policies[0]?.version}, by ${found.createdBy}, ${found.createdAt}`,
    );
    print(JSON.stringify(found.spec, null, 2));
  });
}

/** `canary cell, 10 %, rest`. */
const wavesOf = ({ spec }: PolicyVersion): string =>
  spec.waves
    .map(({ devices, percent, cells, zones, canaryCell }) => {
      if (devices !== undefined) return `${devices.length} devices`;
      if (percent !== undefined) return `${percent} %`;
      if (cells !== undefined) return `cells ${cells.join(' ')}`;
      if (zones !== undefined) return `zones ${zones.join(' ')}`;
      return canaryCell ? 'canary cell' : 'rest';
    })
    .join(', ');

const rowOf = (policy: PolicyVersion): string[] => [
  policy.name,
  String(policy.version),
  wavesOf(policy),
  `${policy.spec.bakeMs / 1_000} s`,
  policy.spec.onFailure,
  policy.createdBy,
];
