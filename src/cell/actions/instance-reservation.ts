/** What an instance says of Capacity Reservations: at its launch, and changed while it is stopped. */
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { permit } from '../instance-states.ts';
import { assertNotMigrating } from '../lifecycle.ts';
import type { Choice } from '../reservations/matching.ts';
import { changeInstance, type InstanceSpec } from '../store/instances.ts';
import { listReservations } from '../store/reservations.ts';
import type { CellContext } from './context.ts';
import { findInstances, lockOne } from './find.ts';

type Specification = In<'RunInstances'>['CapacityReservationSpecification'];
type Spoken = Pick<InstanceSpec, 'capacityReservation' | 'capacityReservationTarget'>;

const words = ['open', 'none', 'capacity-reservations-only'] as const;

/** @throws InvalidParameterValue, InvalidParameterCombination, UnsupportedOperation */
export const readReservationChoice = (given: Specification): Spoken => {
  const { CapacityReservationPreference: preference, CapacityReservationTarget: target } = given ?? {};
  if (target?.CapacityReservationResourceGroupArn !== undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'The parameter CapacityReservationTarget.CapacityReservationResourceGroupArn is not supported.',
    );
  const id = target?.CapacityReservationId;
  const word = words.find((one) => one === preference);
  if (preference !== undefined && word === undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${String(preference).slice(0, 64)}) for parameter CapacityReservationPreference is invalid. Expecting ${words.join(', ')}.`,
    );
  if (id !== undefined && word !== undefined && word !== 'capacity-reservations-only')
    throw new PandoError(
      'InvalidParameterCombination',
      'A CapacityReservationPreference may not be given with a CapacityReservationTarget.',
    );
  return {
    ...(word === undefined || word === 'open' ? {} : { capacityReservation: word }),
    ...(id === undefined ? {} : { capacityReservationTarget: parseId('capacityReservation', id) }),
  };
};

export const choiceOf = ({ capacityReservation, capacityReservationTarget: target }: Spoken): Choice => ({
  preference: capacityReservation ?? 'open',
  ...(target === undefined ? {} : { target }),
});

export const renderReservationChoice = ({
  capacityReservation,
  capacityReservationTarget: target,
}: Spoken) => ({
  ...(target === undefined || capacityReservation !== undefined
    ? { CapacityReservationPreference: capacityReservation ?? ('open' as const) }
    : {}),
  ...(target === undefined ? {} : { CapacityReservationTarget: { CapacityReservationId: target } }),
});

/** Of a stopped instance: it looks for a slot when it starts. */
export const modifyInstanceCapacityReservationAttributes = async (
  input: In<'ModifyInstanceCapacityReservationAttributes'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceCapacityReservationAttributes'>> => {
  await findInstances(context, [input.InstanceId ?? '']);
  if (input.CapacityReservationSpecification === undefined)
    throw new PandoError(
      'MissingParameter',
      'The request must contain the parameter CapacityReservationSpecification',
    );
  const spoken = readReservationChoice(input.CapacityReservationSpecification);
  const { accountId } = context.request;
  const { capacityReservationTarget: target } = spoken;
  const { db } = context.services;
  const found =
    target === undefined ? undefined : await listReservations(db, { accountId, ids: [target], limit: 1 });
  if (target !== undefined && found?.length === 0) throw notFound('capacityReservation', target);
  await db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    permit('modifyStopped', row.id, row.state);
    assertNotMigrating(row, 'modifyStopped');
    endDryRun(input);
    const { capacityReservation: _former, capacityReservationTarget: _target, ...spec } = row.spec;
    await changeInstance(tx, row.id, { spec: { ...spec, ...spoken } });
  });
  return { Return: true };
};
