/** Who is asked, and for what. */
import type { SplitOffer } from '../lib/contract.ts';
import type { DivisionDraft } from '../lib/division.ts';
import { formatMoney } from '../lib/money.ts';
import { Field } from '../parts/controls.tsx';
import { PersonLine } from '../parts/people.tsx';
import { texts } from '../texts.ts';

const said = texts.split;

interface SplitPeopleProps {
  readonly offer: SplitOffer;
  readonly draft: DivisionDraft;
  readonly parts: ReadonlyMap<string, bigint>;
  onChange(draft: DivisionDraft): void;
}

export function SplitPeople({ offer, draft, parts, onChange }: SplitPeopleProps) {
  const toggle = (personId: string, isIn: boolean): void =>
    onChange({
      ...draft,
      people: isIn ? [...draft.people, personId] : draft.people.filter((each) => each !== personId),
    });
  const type = (personId: string, text: string): void =>
    onChange({ ...draft, typed: { ...draft.typed, [personId]: text } });
  return (
    <>
      <ul className="divide-y divide-line" data-testid="offered">
        {offer.people.map(({ personId, name, basis }) => {
          const isIn = draft.people.includes(personId);
          const part = parts.get(personId);
          return (
            <li key={personId} className="py-1">
              <label className="row">
                <input
                  type="checkbox"
                  className="size-5 shrink-0 accent-accent"
                  checked={isIn}
                  onChange={(event) => toggle(personId, event.target.checked)}
                />
                <PersonLine name={name} about={said.basis[basis]}>
                  <span className="shrink-0 font-medium">
                    {part !== undefined && formatMoney(part.toString(), offer.currency)}
                  </span>
                </PersonLine>
              </label>
              {isIn && draft.by !== 'equal' && (
                <Field
                  label={draft.by === 'amounts' ? said.amountOf(name) : said.shareOf(name)}
                  inputMode={draft.by === 'amounts' ? 'decimal' : 'numeric'}
                  autoComplete="off"
                  value={draft.typed[personId] ?? (draft.by === 'shares' ? '1' : '')}
                  onChange={(event) => type(personId, event.target.value)}
                />
              )}
            </li>
          );
        })}
      </ul>
      {draft.by === 'shares' && (
        <Field
          label={said.own}
          inputMode="numeric"
          autoComplete="off"
          value={draft.own}
          onChange={(event) => onChange({ ...draft, own: event.target.value })}
        />
      )}
    </>
  );
}
