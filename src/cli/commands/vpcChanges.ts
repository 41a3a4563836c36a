/** `pando rollout audit --vpc`, `versions`, `restore`: what tenants have changed, and the way back. */
import { objectKind, objectKinds } from '#contracts/network-objects.ts';
import type { VpcChange } from '#contracts/vpc-changes.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';
import { showAudit } from './rollout.ts';

interface Directory {
  readonly dir: string;
}
type Json = Directory & { readonly json: boolean };

export interface AuditOptions extends Json {
  readonly vpc?: string;
  readonly object?: string;
  readonly limit: number;
}

/** Of a rollout, or of a VPC. */
export async function showAuditOf(rolloutId: string | undefined, options: AuditOptions): Promise<void> {
  const { vpc, object, limit } = options;
  if (rolloutId !== undefined && vpc === undefined) return showAudit(rolloutId, options);
  if (rolloutId !== undefined || vpc === undefined)
    throw new UserError('Say a rollout, ro-…, or a VPC: --vpc vpc-….');
  await withRegion(openRegion(options), async (region) => {
    const asked = { vpcId: vpc, limit, ...(object !== undefined && { objectId: object }) };
    const { changes, next } = await region.call('operator.vpcChanges', asked);
    for (const change of changes)
      print(options.json ? JSON.stringify(change) : changeLines(change).join('\n'));
    if (changes.length === 0) print(`Nothing that changed ${vpc} is recorded.`);
    if (next !== undefined && !options.json) print('There are more: --limit shows up to 500.');
  });
}

const short = (digest: string | undefined): string => digest?.slice(0, 8) ?? 'none';

/** A call with who made it, and what changed for devices. */
export const changeLines = (change: VpcChange): string[] => {
  const { at, action, accountId, principal, accessKeyId, requestId, outcome, enforcedAt, objects } = change;
  const by = [
    principal ?? accountId,
    ...(accessKeyId === undefined ? [] : [`key ${accessKeyId}`]),
    ...(requestId === undefined ? [] : [`request ${requestId}`]),
  ];
  const ms = enforcedAt === undefined ? undefined : Math.max(0, Date.parse(enforcedAt) - Date.parse(at));
  return [
    `${at}  ${action ?? 'a change of an interface'}  version ${change.version}  ${outcome}${ms === undefined ? '' : ` after ${ms} ms`}`,
    `    by ${by.join(', ')}`,
    ...objects.map(
      ({ kind, id, from, to, version }) =>
        `    ${kind}/${id}  ${short(from)} → ${short(to)}  (version ${version})`,
    ),
    ...(objects.length === 0 && change.named.length > 0 ? [`    about ${change.named.join(' ')}`] : []),
  ];
};

/** @throws UserError for what is none */
export const parseObject = (text: string) => {
  const at = text.indexOf('/');
  const kind = objectKind.safeParse(text.slice(0, at));
  if (at < 1 || !kind.success || text.length === at + 1)
    throw new UserError(
      `${text} is no object: kind/id, security-group/sg-… for example. Kinds: ${objectKinds.join(' ')}.`,
    );
  return { kind: kind.data, id: text.slice(at + 1) };
};

export async function showVersions(object: string, options: Json): Promise<void> {
  const named = parseObject(object);
  await withRegion(openRegion(options), async (region) => {
    const { versions } = await region.call('operator.tenantVersions', named);
    if (options.json) return print(JSON.stringify({ versions }, null, 2));
    if (versions.length === 0) return print(`Nothing is kept of ${object}: no device was ever told it.`);
    const rows = versions.map(({ version, digest, madeAt, devices, body }) => [
      ...[String(version), digest.slice(0, 8), madeAt, String(devices)],
      JSON.stringify(body).slice(0, 100),
    ]);
    print(table([['VERSION', 'DIGEST', 'AT', 'DEVICES', 'CONTENT'], ...rows]));
  });
}

export async function restore(
  object: string,
  options: Directory & { readonly version: number; readonly dryRun: boolean },
): Promise<void> {
  const { version, dryRun } = options;
  const named = parseObject(object);
  await withRegion(openRegion(options), async (region) => {
    const { vpcId, lines } = await region.call('operator.restoreObject', { ...named, version, dryRun });
    print(`${object} in ${vpcId} ${dryRun ? 'would change' : `is as in version ${version}`}:`);
    for (const line of lines) print(`  ${line}`);
  });
}
