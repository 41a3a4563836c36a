/** Another person signs in, or nobody: nothing that was read for the last one may be seen. */
import type { QueryClient } from '@tanstack/react-query';
import type { Me } from './contract.ts';
import { queries } from './queries.ts';
import { go } from './router.ts';

/** Without `me` it is read again, which tells that nobody is signed in. */
export function startAs(client: QueryClient, me?: Me): void {
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== 'me' && queryKey[0] !== 'about' });
  go('/');
  if (me === undefined) void client.resetQueries({ queryKey: ['me'] });
  else client.setQueryData(queries.me().queryKey, me);
}
