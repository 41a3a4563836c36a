/** My splits and those that I have a part in. */
import { useQuery } from '@tanstack/react-query';
import { queries } from '../lib/queries.ts';
import { Link } from '../parts/controls.tsx';
import { Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const shownMax = 5;

export function SplitList() {
  const splits = useQuery(queries.splits()).data?.splits.slice(0, shownMax) ?? [];
  if (splits.length === 0) return null;
  return (
    <Section title={texts.split.title}>
      <ul className="divide-y divide-line" data-testid="splits">
        {splits.map((split) => (
          <li key={split.splitId}>
            <Link to={`/split/${split.splitId}`} className="row justify-between">
              <span className="min-w-0 truncate">{texts.split.of(split.payer.name, split.paidTo)}</span>
              <span className="shrink-0 text-sm text-muted">
                {texts.split.progress(
                  split.parts.filter((part) => part.state === 'approved').length,
                  split.parts.length,
                )}
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </Section>
  );
}
