/** How a debit is taken from the sub-accounts of a hot account. Pure. */

export interface SubBalance {
  readonly sub: number;
  readonly availableMinor: bigint;
}

export interface SubDebit {
  readonly sub: number;
  readonly amountMinor: bigint;
}

/** The fullest first, so that few are touched. Undefined where all of them together do not hold the amount. */
export function planDebit(
  balances: readonly SubBalance[],
  amountMinor: bigint,
): readonly SubDebit[] | undefined {
  const fullest = [...balances].sort((a, b) =>
    a.availableMinor === b.availableMinor ? a.sub - b.sub : a.availableMinor < b.availableMinor ? 1 : -1,
  );
  const plan: SubDebit[] = [];
  let left = amountMinor;
  // Math.min does not take bigints.
  const lesser = (a: bigint, b: bigint): bigint => (a - b < 0n ? a : b);
  for (const { sub, availableMinor } of fullest) {
    if (left === 0n || availableMinor <= 0n) break;
    const part = lesser(availableMinor, left);
    plan.push({ sub, amountMinor: part });
    left -= part;
  }
  return left === 0n ? plan : undefined;
}
