import { PandoError } from '#contracts/errors.ts';
import { type MemberTable, refuseOthers } from './members.ts';
import { findOperation, hasOperation, type Operation, type Service } from './schema.ts';
import type { Handlers, KnownAction, WireInput } from './types.ts';

/** Whether EC2 (or, for `GetCallerIdentity`, STS) has an action of that name, built here or not. */
export function isKnownAction(name: string): name is KnownAction {
  return hasOperation(name);
}

/** The service that answers an action; unknown ones belong to EC2, whose error format they get. */
export function serviceOf(action: string): Service {
  return findOperation(action)?.service ?? 'ec2';
}

/** The schema of a known action. */
export function operationOf(action: KnownAction): Operation {
  const operation = findOperation(action);
  if (operation === undefined)
    throw new PandoError('InvalidAction', `The action ${action} is not valid for this web service.`);
  return operation;
}

/** A process's actions, and what each does with its members. */
export interface ActionTable<C> {
  readonly handlers: Handlers<C>;
  readonly members: MemberTable;
}

/**
 * Calls the handler of an action whose name is known only at run time. `input` must come from `decodeRequest`
 * or `reviveInput`, which is what makes it of the handler's type.
 *
 * @throws `UnsupportedOperation` if there is no such handler, or for a member that it does not have; whatever the handler throws.
 */
export async function callHandler<C>(
  { handlers, members }: ActionTable<C>,
  action: KnownAction,
  input: WireInput,
  context: C,
): Promise<object> {
  // Seen as a plain object: the compiler would otherwise compare eight hundred signatures.
  const table: object = handlers;
  const handler: ((input: WireInput, context: C) => Promise<object>) | undefined = Object.hasOwn(
    table,
    action,
  )
    ? Reflect.get(table, action)
    : undefined;
  if (handler === undefined) {
    throw new PandoError('UnsupportedOperation', `The action ${action} is not supported.`);
  }
  const own = Object.hasOwn(members, action) ? members[action] : undefined;
  if (own !== undefined) refuseOthers(input, own);
  return handler(input, context);
}
