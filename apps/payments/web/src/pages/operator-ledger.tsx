/** Whether the books balance. */
import type { LedgerHealth } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { Chip } from '../parts/controls.tsx';
import { Muted } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.operator;

export function Ledger({ health }: { readonly health: LedgerHealth }) {
  return (
    <div className="flex flex-col gap-3">
      <ul className="divide-y divide-line" data-testid="sums">
        {health.sums.map(({ currency, sumMinor, postings }) => (
          <li key={currency} className="flex items-center justify-between gap-3 py-2">
            <span>
              {currency} · {said.postings(postings)}
            </span>
            <Chip tone={sumMinor === '0' ? 'good' : 'bad'}>
              {sumMinor === '0' ? said.balanced : `${said.unbalanced}: ${formatMoney(sumMinor, currency)}`}
            </Chip>
          </li>
        ))}
      </ul>
      <p className={health.drifted.length === 0 ? 'text-good' : 'text-bad'}>
        {health.drifted.length === 0 ? said.noDrift : said.drifted(health.drifted.length)}
      </p>
      <Muted>
        {said.holds(health.openHolds)}
        {health.heldMinor.map(({ currency, amountMinor }) => ` · ${formatMoney(amountMinor, currency)}`)}
      </Muted>
      <Muted>{said.hour(health.paymentsLastHour, health.declinesLastHour)}</Muted>
      <details>
        <summary className="text-sm font-medium">{said.proofs}</summary>
        {health.proofs.length === 0 && <Muted>{said.noProofs}</Muted>}
        <ul className="divide-y divide-line text-sm">
          {health.proofs.map((proof) => (
            <li key={proof.day} className="py-1 break-all">
              {proof.day} · {said.postings(proof.postings)} ·{' '}
              {proof.balanced ? said.balanced : said.unbalanced} · {proof.digest}
            </li>
          ))}
        </ul>
      </details>
    </div>
  );
}
