/** Whom to pay: contacts who are seen near first, then everybody else, told honestly. */
import { useQuery } from '@tanstack/react-query';
import type { Contact, Me, NearbyContact } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { Link } from '../parts/controls.tsx';
import { LocationCard } from '../parts/location-card.tsx';
import { Loaded, Muted, Page, Section } from '../parts/page.tsx';
import { PersonLine } from '../parts/people.tsx';
import { texts } from '../texts.ts';
import { AsksToMe } from './asks.tsx';
import { CodeEntry } from './code-entry.tsx';
import { PartsAskedOfMe } from './split-parts.tsx';

const said = texts.pay;

export function PayPage({ me }: { readonly me: Me }) {
  const contacts = useQuery(queries.contacts());
  const nearby = useQuery(queries.nearby());
  const near = nearby.data?.contacts ?? [];
  // Both are there before the list is: nobody moves between its halves under a finger.
  const both = nearby.isPending ? { ...contacts, data: undefined, isError: false as const } : contacts;
  return (
    <Page title={said.title}>
      <LocationCard me={me} />
      <AsksToMe />
      <PartsAskedOfMe />
      <Loaded query={both} rows={4}>
        {(list) => <Contacts mutual={list.contacts.filter((each) => each.state === 'mutual')} near={near} />}
      </Loaded>
      <CodeEntry />
    </Page>
  );
}

function Contacts({
  mutual,
  near,
}: {
  readonly mutual: readonly Contact[];
  readonly near: readonly NearbyContact[];
}) {
  const others = mutual.filter((each) => !near.some((one) => one.personId === each.personId));
  if (mutual.length === 0) return <Muted>{said.noContacts}</Muted>;
  return (
    <>
      <Section title={said.near}>
        {near.length === 0 && (
          <p className="flex min-h-14 items-center text-sm text-muted">{said.noneNear}</p>
        )}
        <ul className="divide-y divide-line" data-testid="near">
          {near.map((person) => (
            <PayLink key={person.personId} person={person} about={texts.nearness[person.likelihood]} />
          ))}
        </ul>
      </Section>
      {others.length > 0 && (
        <Section title={said.others}>
          <Muted>
            {texts.nearness.other}: {texts.nearness.otherWhy}.
          </Muted>
          <ul className="divide-y divide-line" data-testid="others">
            {others.map((person) => (
              <PayLink key={person.personId} person={person} about={texts.nearness.other} />
            ))}
          </ul>
        </Section>
      )}
    </>
  );
}

const PayLink = ({
  person,
  about,
}: {
  readonly person: { personId: string; name: string; handle: string };
  readonly about: string;
}) => (
  <li>
    <Link to={`/pay/${person.personId}`} className="row">
      <PersonLine name={person.name} about={`${person.handle} · ${about}`} />
    </Link>
  </li>
);
