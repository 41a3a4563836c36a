/** Run as the user of another process: whether the server whose URL comes on standard input lets that user in. Says why not, and ends with 3. */
import { text } from 'node:stream/consumers';
import { onServer } from '#base/postgres/create.ts';
import { wordsOf } from './externalPostgres.ts';

try {
  const url = await text(process.stdin);
  await onServer(url, (server) => server.query('select 1', []));
} catch (error) {
  process.stdout.write(wordsOf(error));
  process.exitCode = 3;
}
