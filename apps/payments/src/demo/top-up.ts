/** Play money of demo mode: it comes from the world's account, as all money that enters. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Money } from '../contract/primitives.ts';
import { accountIn, openAccount, transfer } from '../ledger/ledger.ts';

export const topUpMax: Money = { amountMinor: '100000', currency: 'EUR' };

export async function topUp(unit: Unit, personId: string, money: Money): Promise<void> {
  if (BigInt(money.amountMinor) > BigInt(topUpMax.amountMinor))
    throw new PaymentsError('amount_out_of_range', `At most ${topUpMax.amountMinor} minor units at once.`);
  const from = await openAccount(unit.on, unit.nowMs, {
    ownerId: 'world',
    currency: money.currency,
    kind: 'world',
  });
  await transfer(unit.on, {
    transactionId: newId('ltx', unit.nowMs),
    kind: 'top_up',
    reference: personId,
    from,
    to: await accountIn(unit.on, personId, money.currency),
    amountMinor: BigInt(money.amountMinor),
    atMs: unit.nowMs,
  });
}
