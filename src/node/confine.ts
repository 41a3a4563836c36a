/** The command that runs a program with no more power than it needs: as a user of its own, or as root with few capabilities. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDirectory, codeDirectory, runtimeDirectory } from './directory.ts';
import type { User } from './users.ts';

export interface Confinement {
  readonly user?: User | undefined;
  /** Those that it keeps, by setpriv's names; undefined: all (root) or none (another user). */
  readonly capabilities?: readonly string[] | undefined;
  /** Directories, besides the code's, that the user must be able to reach. */
  readonly reaches?: readonly string[] | undefined;
}

/** Settings that a process may have from who started the region; what else is there (a database's password, a cloud's keys) it does not get. */
const passedOn = /^(PATH|LANG|LC_\w+|TZ|TMPDIR|(NODE|OTEL|PANDO)_\w+)$/;
const keptBack = new Set(['PANDO_POSTGRES']);

/** The environment of a process of the region. Pure. */
export const environment = (from: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(from).filter(([name]) => passedOn.test(name) && !keptBack.has(name)));

const othersMayEnter = 0o001;

const listed = (capabilities: readonly string[]): string =>
  ['-all', ...capabilities.map((name) => `+${name}`)].join(',');

/** Arguments of setpriv(1). Pure. */
export const privileges = ({ user, capabilities }: Confinement): string[] => {
  if (user === undefined)
    return capabilities === undefined
      ? []
      : ['setpriv', '--inh-caps=-all', `--bounding-set=${listed(capabilities)}`, '--no-new-privs', '--'];
  const kept = listed(capabilities ?? []);
  return [
    ...['setpriv', '--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups'],
    ...[`--inh-caps=${kept}`, `--ambient-caps=${kept}`, `--bounding-set=${kept}`, '--no-new-privs', '--'],
  ];
};

/** The outermost directory above `path` that others may not pass through; undefined: they can reach it. */
export const hiddenBy = (
  path: string,
  modeOf = (at: string): number => statSync(at).mode,
): string | undefined => {
  const above = [dirname(path)];
  for (let at = above[0] ?? '/'; at !== '/'; at = dirname(at)) above.unshift(dirname(at));
  return above.find((at) => (modeOf(at) & othersMayEnter) === 0);
};

const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;
const isBelow = (path: string, above: string): boolean => path.startsWith(`${above}/`);

/**
 * A shell script that shows `paths` where they are, in mounts of the process's own. A directory above that is closed to others (a home)
 * is covered by an empty one, in which only `paths` are mounted. Pure.
 */
export const viewScript = (stage: string, hidden: readonly string[], paths: readonly string[]): string => {
  const shown = paths.filter((path) => hidden.some((above) => isBelow(path, above)));
  const kept = (at: number): string => `${stage}/${at}`;
  return [
    'set -eu; umask 022',
    `mount -t tmpfs -o mode=0755,size=64k,nosuid,nodev view ${quoted(stage)}`,
    ...shown.flatMap((path, at) => [`mkdir ${kept(at)}`, `mount --rbind ${quoted(path)} ${kept(at)}`]),
    ...hidden.map((above) => `mount -t tmpfs -o mode=0711,size=64k,nosuid,nodev view ${quoted(above)}`),
    ...shown.flatMap((path, at) => [`mkdir -p ${quoted(path)}`, `mount --rbind ${kept(at)} ${quoted(path)}`]),
    `umount -l ${quoted(stage)}`,
    `cd ${quoted(codeDirectory)}`,
    'exec "$@"',
  ].join('\n');
};

/** What a process has in its memory (signing keys, tenants' user data) is left on no disk when it crashes. */
const noCore = ['prlimit', '--core=0', '--'];

/** `command` so confined. The process id stays the same: every step of the way execs. */
export function confined(confinement: Confinement, command: readonly string[]): string[] {
  const inner = [...noCore, ...privileges(confinement), ...command];
  if (confinement.user === undefined) return inner;
  const wanted = [codeDirectory, dirname(process.execPath), cacheDirectory, ...(confinement.reaches ?? [])];
  const present = [...new Set(wanted)].filter((path) => existsSync(path));
  const paths = present.filter((path) => !present.some((other) => isBelow(path, other)));
  const hidden = [...new Set(paths.flatMap((path) => hiddenBy(path) ?? []))];
  if (hidden.length === 0) return inner;
  const stage = join(runtimeDirectory, 'view');
  mkdirSync(stage, { recursive: true, mode: 0o755 });
  const script = viewScript(stage, hidden, paths);
  return ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, 'pando-view', ...inner];
}
