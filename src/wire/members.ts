/** No member of a request is ignored: it has effect, it says what is so anyway, or it is refused by name. */
import { PandoError } from '#contracts/errors.ts';
import type { WireInput } from './types.ts';

/** A value that says what is so anyway. */
type Fact = string | number | boolean;

/** What an action does with its members, by their paths: `IpPermissions.IpRanges.CidrIp`. A path stands for all that is below it. */
export interface ActionMembers {
  /** Those that its handler acts on, or checks and refuses itself; `*`: it does so with all of them. */
  readonly effect: readonly string[] | '*';
  /** Those that may only be given what is so anyway; `*`: all others, which only narrow an answer that is empty. */
  readonly always?: Readonly<Record<string, readonly Fact[]>> | '*';
  /** What its users should know of a member that has effect, in words for the action's table. */
  readonly notes?: Readonly<Record<string, string>>;
}

/** By the actions' names. */
export type MemberTable = Readonly<Record<string, ActionMembers>>;

/** What becomes of the member of that path. */
export const fateOf = (members: ActionMembers, path: string): 'effect' | 'always' | 'refused' => {
  if (members.effect === '*') return 'effect';
  const isAbove = (listed: string): boolean => path === listed || path.startsWith(`${listed}.`);
  if (members.effect.some(isAbove)) return 'effect';
  if (members.always === '*') return 'always';
  return Object.keys(members.always ?? {}).some(isAbove) ? 'always' : 'refused';
};

/**
 * Refuses a request that asks for what the action does not have. That something is not wanted (`false`, `0`, nothing) may always be said.
 *
 * @throws UnsupportedOperation that names the member
 */
export const refuseOthers = (input: WireInput, members: ActionMembers): void => {
  if (members.effect !== '*' && members.always !== '*') walk(input, '', members);
};

const walk = (value: unknown, path: string, members: ActionMembers): void => {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, path, members);
    return;
  }
  const always = members.always === '*' ? undefined : members.always?.[path];
  if (always !== undefined) {
    if (!always.some((fact) => fact === value)) throw notSupported(path, value);
  } else if (fateOf(members, path) === 'refused') {
    if (isStructure(value))
      for (const [name, item] of Object.entries(value))
        walk(item, path === '' ? name : `${path}.${name}`, members);
    else if (isWanted(value)) throw notSupported(path);
  }
};

const isStructure = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !(value instanceof Date) && !ArrayBuffer.isView(value);

const isWanted = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== false && value !== 0 && value !== '';

const notSupported = (path: string, value?: unknown): PandoError => {
  const shown = value === undefined ? '' : ` with the value '${String(value).slice(0, 64)}'`;
  return new PandoError('UnsupportedOperation', `The parameter ${path} is not supported${shown}.`);
};
