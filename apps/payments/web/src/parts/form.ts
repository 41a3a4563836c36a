/** A signed message from a form: one key for as long as the form stands, so that two presses are one message. */
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import type { AnswerOf } from '../lib/contract.ts';
import { type Message, post } from '../lib/outbox.ts';
import type { PathName } from '../lib/paths.ts';

export type Sent<Answer> =
  | { readonly state: 'idle' }
  | { readonly state: 'sending' }
  | { readonly state: 'answered'; readonly answer: Answer }
  | { readonly state: 'failed'; readonly error: Error };

export interface Form<Name extends PathName> {
  readonly sent: Sent<AnswerOf<Name>>;
  /** `before` runs before anything is signed. */
  submit(message: Omit<Message, 'key'>, before?: () => Promise<unknown>): Promise<AnswerOf<Name> | undefined>;
  /** Starts over: what is sent next is another message. */
  reset(): void;
}

export function useForm<Name extends PathName>(name: Name): Form<Name> {
  const [sent, setSent] = useState<Sent<AnswerOf<Name>>>({ state: 'idle' });
  const key = useRef(crypto.randomUUID());
  const isBusy = useRef(false);
  const client = useQueryClient();
  const submit: Form<Name>['submit'] = async (message, before) => {
    if (isBusy.current) return undefined;
    isBusy.current = true;
    setSent({ state: 'sending' });
    try {
      await before?.();
      const answer = await post(name, { ...message, key: key.current });
      setSent({ state: 'answered', answer });
      void client.invalidateQueries();
      return answer;
    } catch (error) {
      setSent({ state: 'failed', error: error instanceof Error ? error : new Error(String(error)) });
      return undefined;
    } finally {
      // Answered or refused for good: what is sent next is another message.
      key.current = crypto.randomUUID();
      isBusy.current = false;
    }
  };
  return {
    sent,
    submit,
    reset: () => {
      key.current = crypto.randomUUID();
      setSent({ state: 'idle' });
    },
  };
}
