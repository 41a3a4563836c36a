/** A new account: a handle, a name, a currency, and a passkey. */
import { startRegistration } from '@simplewebauthn/browser';
import { useState } from 'react';
import { call } from '../lib/api.ts';
import type { BodyInput, Currency, Me } from '../lib/contract.ts';
import { Button, Field, Select } from '../parts/controls.tsx';
import { texts } from '../texts.ts';

const said = texts.signIn;

export function SignUpForm({
  currencies,
  onSend,
}: {
  readonly currencies: readonly Currency[];
  readonly onSend: (signUp: () => Promise<Me>) => void;
}) {
  const [handle, setHandle] = useState('@');
  const [name, setName] = useState('');
  const [currency, setCurrency] = useState<Currency>('EUR');
  return (
    <form
      className="mt-4 flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        onSend(() => signUp({ handle, name, currency }));
      }}
    >
      <Field
        label={said.handle}
        hint={said.handleHint}
        autoComplete="username"
        autoCapitalize="none"
        required
        value={handle}
        onChange={(event) => setHandle(event.target.value)}
      />
      <Field
        label={said.name}
        autoComplete="name"
        required
        maxLength={60}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <Select
        label={said.currency}
        options={Object.fromEntries(currencies.map((each) => [each, each]))}
        value={currency}
        onChange={(event) => setCurrency(currencies.find((each) => each === event.target.value) ?? 'EUR')}
      />
      <Button type="submit" look="plain">
        {said.create}
      </Button>
    </form>
  );
}

async function signUp(who: BodyInput<'passkeySignUpOptions'>): Promise<Me> {
  const { challengeId, options } = await call('passkeySignUpOptions', who);
  const response = await startRegistration({
    optionsJSON: options as unknown as Parameters<typeof startRegistration>[0]['optionsJSON'],
  });
  return call('passkeySignUp', { challengeId, response: { ...response } });
}
