/** Whether the API's port is free for the region. */
import { createServer } from 'node:net';
import type { RunDirectory } from '#node/directory.ts';
import { livingIn } from '#node/processIdentity.ts';
import { UserError } from './output.ts';

/** Throws a `UserError` when another program listens where the region's router is to. */
export async function assertPortFree(directory: RunDirectory, port: number): Promise<void> {
  if (livingIn(directory.pidFile('router')) !== undefined) return;
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  } catch (cause) {
    throw new UserError(
      `Port ${port} of 127.0.0.1 is taken by another program (ss -ltnp shows which). Choose another: pando up --port N`,
      { cause },
    );
  } finally {
    server.close();
  }
}
