/** Asks a method's rule whether a caller may call it, for what the parameters name. */
import type { Access, Bounds, Rule } from '#contracts/access.ts';
import { PandoError } from '#contracts/errors.ts';
import { type Identity, parseIdentity, type Role, roles } from '#contracts/identity.ts';
import { cellNumberOf, isId } from '#contracts/ids.ts';
import type { Contract } from './contract.ts';

/** What a rule has to know besides the two identities. What is not given is not allowed. */
export interface AccessFacts {
  /** The number that a cell's ids begin with; undefined: there is no such cell. */
  cellNumber?(cell: string): number | undefined;
  /** The instance that has an interface; undefined: there is no such interface. */
  instanceOf?(eniId: string): Promise<string | undefined>;
  /** Whether an interface of that cell is in the VPC. */
  isInVpc?(cellNumber: number, vpcId: string): Promise<boolean>;
}

/** The two ends of a stream, as their certificates say. */
export interface Ends {
  readonly caller: Identity | undefined;
  readonly self: Identity | undefined;
}

export const endsOf = (caller: string, self: string | undefined): Ends => ({
  caller: parseIdentity(caller),
  self: self === undefined ? undefined : parseIdentity(self),
});

const isRole = (text: string): text is Role => roles.some((role) => role === text);

/** Roles that may call anything at all of a contract. */
export const rolesOf = (access: Access<Contract>): ReadonlySet<string> =>
  new Set(Object.values(access).flatMap((rule) => Object.keys(rule)));

/** What the caller's role allows. @throws UnauthorizedOperation where it allows nothing */
export const boundsFor = (
  access: Access<Contract> | undefined,
  method: string,
  { caller }: Ends,
): 'any' | Bounds<never> => {
  const rule: Rule<never> | undefined =
    access !== undefined && Object.hasOwn(access, method) ? access[method] : undefined;
  const bounds = caller !== undefined && isRole(caller.role) ? rule?.[caller.role] : undefined;
  if (bounds === undefined) throw refused(caller, method, 'its role may not call it');
  return bounds;
};

/** @throws UnauthorizedOperation where the parameters name something that is not the caller's */
export const checkBounds = async (
  method: string,
  bounds: Bounds<never>,
  { caller, self }: Ends,
  params: never,
  facts: AccessFacts,
): Promise<void> => {
  if (caller === undefined) throw refused(caller, method, 'it is nobody');
  const deny = (why: string): never => {
    throw refused(caller, method, why);
  };
  const own = (): number =>
    (caller.cell === undefined ? undefined : facts.cellNumber?.(caller.cell)) ??
    deny('its cell is not known');
  const isOwn = (instanceId: string): boolean =>
    isId('instance', instanceId) && cellNumberOf(instanceId) === own();

  const cell = bounds.cell?.(params);
  if (cell !== undefined && cell !== caller.cell) deny('it is not that cell');
  if (bounds.name !== undefined && bounds.name(params) !== caller.name)
    deny('it is not the one that it names');
  // A host of the last release does not say its cell: the cell's own list of hosts decides, as it did.
  if (bounds.sameCell && !(caller.former && caller.role === 'agent') && !sameCell(caller, self))
    deny('it is of another cell');
  if (bounds.instances !== undefined && !bounds.instances(params).every(isOwn))
    deny('the instance is of another cell');
  if (bounds.interface !== undefined) {
    const instanceId = await facts.instanceOf?.(bounds.interface(params));
    // What is not there is the handler's to say.
    if (instanceId === undefined ? facts.instanceOf === undefined : !isOwn(instanceId))
      deny('the interface is of another cell');
  }
  if (bounds.vpc !== undefined && !(await facts.isInVpc?.(own(), bounds.vpc(params))))
    deny('its cell has nothing in that VPC');
};

/** One of the last release on our side does not know its cell either: its peer was checked when it was dialled. */
const sameCell = (caller: Identity, self: Identity | undefined): boolean =>
  self !== undefined && (self.former || (caller.cell !== undefined && caller.cell === self.cell));

const refused = (caller: Identity | undefined, method: string, why: string): PandoError =>
  new PandoError(
    'UnauthorizedOperation',
    `${caller === undefined ? 'An unknown peer' : `${caller.role} ${caller.name}`} may not call ${method}: ${why}.`,
  );

/** Every role may call everything: for contracts of tests. */
export const openAccess = <C extends Contract>(contract: C): Access<C> =>
  Object.fromEntries(
    Object.keys(contract).map((method) => [method, Object.fromEntries(roles.map((role) => [role, 'any']))]),
  ) as Access<C>;
