/** Signed calls that are no money: rules and partners. They say what shall be, so that once more is the same as once. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { call } from './api.ts';
import type { BodyInput } from './contract.ts';
import { ensureDevice } from './device.ts';
import { queries } from './queries.ts';
import { signedMessage } from './signing.ts';

type SignedCall = 'setRules' | 'namePartner' | 'dropPartner';

export function useSigned<Name extends SignedCall>(name: Name, type: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (fields: object) => {
      const { personId } = await client.ensureQueryData(queries.me());
      const message = await signedMessage(await ensureDevice(personId), type, fields);
      return call(name, message as BodyInput<Name>);
    },
    onSuccess: () => client.invalidateQueries(),
  });
}
