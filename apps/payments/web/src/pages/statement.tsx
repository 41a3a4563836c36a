/** One's statement, recomputed on this phone. */
import { useQuery } from '@tanstack/react-query';
import { entryName, firstBroken } from '../lib/audit.ts';
import type { Statement } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Notice } from '../parts/controls.tsx';
import { Loaded, Muted, Page } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.statement;
const shownMax = 200;
const hashCharsShown = 8;

export default function StatementPage() {
  const statement = useQuery(queries.statement());
  return (
    <Page title={said.title}>
      <Loaded query={statement} rows={6}>
        {(statement) => <StatementView statement={statement} />}
      </Loaded>
    </Page>
  );
}

function StatementView({ statement }: { readonly statement: Statement }) {
  const { entries, currency, closingMinor } = statement;
  const audit = useQuery({
    queryKey: ['audit', entries.length, entries.at(-1)?.hash, closingMinor],
    queryFn: async () => ({ broken: (await firstBroken(statement)) ?? null }),
  });
  const newest = [...entries].sort((a, b) => b.at - a.at || b.sequence - a.sequence).slice(0, shownMax);
  return (
    <>
      <dl className="card flex flex-col gap-1">
        <Total name={said.closing} money={formatMoney(closingMinor, currency)} testId="closing" />
        <Total name={said.opening} money={formatMoney(statement.openingMinor, currency)} />
      </dl>
      <Loaded query={audit} rows={1}>
        {({ broken }) =>
          broken === null ? (
            <Notice tone="good">{said.sound(entries.length)}</Notice>
          ) : (
            <Notice tone="bad">{said.broken(broken)}</Notice>
          )
        }
      </Loaded>
      {entries.length === 0 && <Muted>{texts.none}</Muted>}
      <ul className="flex flex-col gap-2" data-testid="entries">
        {newest.map((entry) => (
          <li key={entryName(entry)} className="card">
            <span className="flex items-baseline justify-between gap-3">
              <span className="min-w-0 truncate font-medium">{kindText(entry.kind)}</span>
              <span className="shrink-0 font-semibold">{signed(entry.amountMinor, currency)}</span>
            </span>
            <span className="mt-1 block text-sm text-muted">
              {timeText(entry.at)} · {said.entry(entryName(entry), entry.hash.slice(0, hashCharsShown))}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

const Total = ({
  name,
  money,
  testId,
}: {
  readonly name: string;
  readonly money: string;
  readonly testId?: string;
}) => (
  <div className="flex items-baseline justify-between gap-3">
    <dt>{name}</dt>
    <dd className="font-semibold" data-testid={testId}>
      {money}
    </dd>
  </div>
);

const kinds: Readonly<Record<string, string>> = said.kind;
const kindText = (kind: string): string => kinds[kind] ?? kind;

const signed = (amountMinor: string, currency: Statement['currency']): string =>
  amountMinor.startsWith('-')
    ? `−${formatMoney(amountMinor.slice(1), currency)}`
    : `+${formatMoney(amountMinor, currency)}`;
