/** A rollout's orders as transactions of one device, and its answers as outcomes. */
import { PandoError } from '#contracts/errors.ts';
import type { DeviceTransaction, NetworkDevice, ObjectChange } from '#contracts/network-objects.ts';
import type { DeviceOrder } from '#rollout/orders.ts';
import type { Outcome, RolloutRecord, Transition } from '#rollout/record.ts';
import { objectKey } from '#rollout/schedule.ts';

type OnDevice = Awaited<ReturnType<NetworkDevice['objects']>>;
export type Fence = NonNullable<DeviceTransaction['fence']>;

export const changeOf = (
  { kind, id, vpcId }: Transition,
  from: string | undefined,
  to: Transition['to'],
): ObjectChange => ({
  ...{ kind, id, from: from ?? null },
  ...(vpcId !== undefined && { vpcId }),
  ...(to !== undefined && { to }),
});

/** Forward: from first to second, which the device takes back unless it is told in time that it stays (S8.4). */
const forward = ({ rolloutId, transitions, policy }: RolloutRecord, fence: Fence): DeviceTransaction => ({
  transactionId: rolloutId,
  objects: transitions.map((each) => changeOf(each, each.from?.digest, each.to)),
  places: [],
  confirmWithinMs: policy.confirmMs,
  fence,
});

/** Back: whoever has the first state already has nothing to do. */
const backward = ({ transitions }: RolloutRecord, fence: Fence): DeviceTransaction => ({
  objects: transitions.map((each) => changeOf(each, each.to?.digest, each.from)),
  places: [],
  fence,
});

/** The digest of each object of the change that a device says it has. */
const digestOn = (answer: OnDevice, { kind, id }: Transition): string | undefined =>
  answer.objects.find((each) => each.kind === kind && each.id === id)?.current?.digest;

const mismatch = {
  refused: 'NonsenseAnswer',
  lapsed: 'Lapsed: it went back by itself before it could be told that it stays',
} as const;

/** Read back and compared (S8.3): an answer that says something else than was asked for is no answer. */
const readBack = (
  answer: OnDevice,
  { transitions }: RolloutRecord,
  side: 'from' | 'to',
  otherwise: 'refused' | 'lapsed',
): Outcome => {
  const wrong = transitions.find((each) => digestOn(answer, each) !== each[side]?.digest);
  if (wrong === undefined) return { kind: 'ok' };
  const has = digestOn(answer, wrong) ?? 'nothing';
  const detail = `it has ${has} of ${objectKey(wrong)}, not ${wrong[side]?.digest ?? 'nothing'}`;
  return { kind: otherwise, detail: `${mismatch[otherwise]}: ${detail}` };
};

/** Sends one order. Never throws: what went wrong is an outcome. */
export const carryOut = async (
  device: NetworkDevice,
  record: RolloutRecord,
  order: DeviceOrder,
  fence: Fence,
): Promise<Outcome> => {
  try {
    if (order.kind === 'apply')
      return readBack(await device.transact(forward(record, fence)), record, 'to', 'refused');
    if (order.kind === 'revert')
      return readBack(await device.transact(backward(record, fence)), record, 'from', 'refused');
    return await confirm(device, record, fence);
  } catch (error) {
    return outcomeOf(error);
  }
};

/** NotFound says either that it went back by itself, or that an earlier confirmation came through whose answer was lost. */
const confirm = async (device: NetworkDevice, record: RolloutRecord, fence: Fence): Promise<Outcome> => {
  try {
    await device.confirm(record.rolloutId, fence);
    return { kind: 'ok' };
  } catch (error) {
    if (!(error instanceof PandoError) || error.code !== 'NotFound') throw error;
    return readBack(await device.objects(), record, 'to', 'lapsed');
  }
};

export const outcomeOf = (error: unknown): Outcome => {
  const { code, class: retry, details, message } = PandoError.from(error);
  const detail = `${code}: ${message}`.slice(0, detailCharsMax);
  if (code === 'Conflict')
    // Without what it has it is no drift: an unconfirmed transaction is in the way, for its time.
    return details?.has === undefined
      ? { kind: 'lost', detail }
      : { kind: 'drift', detail: hasText(details.has) };
  if (retry === 'refused') return { kind: 'refused', detail };
  // No answer, a broken one, or a fault inside: it may have happened.
  return { kind: 'lost', detail };
};

const detailCharsMax = 500;
const hasText = (has: string): string => `Drift: it has ${has}`.slice(0, detailCharsMax);
