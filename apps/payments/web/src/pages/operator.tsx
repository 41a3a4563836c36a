/** The operator's page: the ledger's health, decisions with their inputs on a map, figures of the simulated town. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { ApiError, call } from '../lib/api.ts';
import { Button, Field } from '../parts/controls.tsx';
import { errorText, Loaded, Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';
import { Decisions } from './operator-decisions.tsx';
import { Ledger } from './operator-ledger.tsx';
import { Simulation } from './operator-simulation.tsx';

const said = texts.operator;
const ledgerEveryMs = 10_000;

export default function OperatorPage() {
  const ledger = useQuery({
    queryKey: ['operatorLedger'],
    queryFn: () => call('operatorLedger'),
    refetchInterval: ledgerEveryMs,
  });
  const isSignedOut = ledger.error instanceof ApiError && ledger.error.code === 'operator_only';
  return (
    <main className="mx-auto grid max-w-5xl gap-4 px-4 py-6 md:grid-cols-2">
      <h1 className="text-xl font-semibold md:col-span-2">{said.title}</h1>
      {isSignedOut ? (
        <SignIn />
      ) : (
        <>
          <Section title={said.ledger}>
            <Loaded query={ledger} rows={5}>
              {(health) => <Ledger health={health} />}
            </Loaded>
          </Section>
          <Section title={said.simulation}>
            <Simulation />
          </Section>
          <Wide>
            <Decisions />
          </Wide>
        </>
      )}
    </main>
  );
}

const Wide = ({ children }: { readonly children: ReactNode }) => (
  <div className="md:col-span-2">{children}</div>
);

function SignIn() {
  const [token, setToken] = useState('');
  const client = useQueryClient();
  const open = useMutation({
    mutationFn: () => call('operatorSignIn', { token: token.trim() }),
    onSuccess: () => client.resetQueries(),
  });
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        open.mutate();
      }}
    >
      <Field
        label={said.token}
        type="password"
        autoComplete="off"
        required
        hint={said.tokenHint}
        wrong={open.isError ? errorText(open.error) : undefined}
        value={token}
        onChange={(event) => setToken(event.target.value)}
      />
      <Button type="submit" disabled={open.isPending}>
        {said.open}
      </Button>
    </form>
  );
}
