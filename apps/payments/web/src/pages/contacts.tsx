/** Contacts, and which of them are partners. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../lib/api.ts';
import type { Contact } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { useSigned } from '../lib/use-signed.ts';
import { Button, Field, Notice } from '../parts/controls.tsx';
import { errorText, Loaded, Muted, Section } from '../parts/page.tsx';
import { PersonLine } from '../parts/people.tsx';
import { texts } from '../texts.ts';

const said = texts.account;

export function ContactsSection() {
  const contacts = useQuery(queries.contacts());
  return (
    <Section title={said.contacts}>
      <Loaded query={contacts}>
        {({ contacts, pending }) => (
          <>
            <ul className="divide-y divide-line" data-testid="contacts">
              {contacts.map((contact) => (
                <ContactRow key={contact.personId} contact={contact} />
              ))}
            </ul>
            {pending.map(({ handle }) => (
              <Muted key={handle}>
                {said.pending}: {handle}
              </Muted>
            ))}
          </>
        )}
      </Loaded>
      <AddContact />
    </Section>
  );
}

function ContactRow({ contact }: { readonly contact: Contact }) {
  const client = useQueryClient();
  const { personId } = contact;
  const partner = useQuery(queries.partners()).data?.partners.find((each) => each.personId === personId);
  const name = useSigned('namePartner', 'partner.name');
  const drop = useSigned('dropPartner', 'partner.drop');
  const accept = useMutation({
    mutationFn: () => call('acceptContact', {}, { params: { personId } }),
    onSettled: () => client.invalidateQueries({ queryKey: ['contacts'] }),
  });
  const about =
    contact.state === 'asks'
      ? said.asks
      : partner === undefined
        ? contact.handle
        : said.partnerFrom(timeText(partner.effectiveAt));
  const problem = name.error ?? drop.error ?? accept.error;
  return (
    <li className="py-1">
      <div className="row flex-wrap">
        <PersonLine name={contact.name} about={about}>
          {contact.state === 'asks' ? (
            <Button onClick={() => accept.mutate()}>{said.accept}</Button>
          ) : (
            <Button
              look="plain"
              className="text-sm"
              disabled={name.isPending || drop.isPending}
              onClick={() => (partner === undefined ? name : drop).mutate({ personId })}
            >
              {partner === undefined ? said.name : said.drop}
            </Button>
          )}
        </PersonLine>
      </div>
      {problem !== null && <Notice tone="bad">{errorText(problem)}</Notice>}
    </li>
  );
}

function AddContact() {
  const [handle, setHandle] = useState('@');
  const client = useQueryClient();
  const add = useMutation({
    mutationFn: () => call('addContact', { handle }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['contacts'] }),
  });
  return (
    <form
      className="mt-3 flex flex-col gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        add.mutate();
      }}
    >
      <Field
        label={said.add}
        autoCapitalize="none"
        autoComplete="off"
        value={handle}
        wrong={add.isError ? errorText(add.error) : undefined}
        hint={add.isSuccess ? said.added : texts.signIn.handleHint}
        onChange={(event) => setHandle(event.target.value)}
      />
      <Button type="submit" look="plain" disabled={add.isPending}>
        {said.addSend}
      </Button>
    </form>
  );
}
