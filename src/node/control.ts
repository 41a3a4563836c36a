/** The supervisor's control socket: one JSON line asked, one JSON line answered, on a unix socket of the run directory. */
import { chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { z } from 'zod';
import type { SupervisedStatus } from './supervised.ts';

const requestBytesMax = 64 * 1024;
const answerBytesMax = 1024 * 1024;

export const controlRequest = z.discriminatedUnion('op', [
  z.object({ op: z.literal('status') }),
  z.object({ op: z.literal('load') }),
  z.object({ op: z.literal('restart'), name: z.string() }),
  z.object({ op: z.literal('stop') }),
]);
export type ControlRequest = z.infer<typeof controlRequest>;

const controlAnswer = z.object({
  error: z.string().optional(),
  processes: z
    .array(
      z.object({
        name: z.string(),
        state: z.enum(['stopped', 'starting', 'ready', 'waiting']),
        pid: z.number().optional(),
        startedAtMs: z.number().optional(),
        restarts: z.number(),
        reason: z.string().optional(),
        outdated: z.boolean().optional(),
      }),
    )
    .optional(),
});

const readLine = (socket: Socket, bytesMax: number): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
      else if (text.length > bytesMax) socket.destroy(new Error('the line is too long'));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('The supervisor ended before it answered.')));
  });

/** Serves the control socket; `handle` answers with the processes' states or throws. */
export async function serveControl(
  path: string,
  handle: (request: ControlRequest) => Promise<SupervisedStatus[]>,
): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    void readLine(socket, requestBytesMax)
      .then(async (line) => ({ processes: await handle(controlRequest.parse(JSON.parse(line))) }))
      .catch((error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }))
      .then((answer) => socket.end(`${JSON.stringify(answer)}\n`));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

/** Asks the supervisor behind `path`. Throws when there is none, or with what it refused. */
export async function askSupervisor(
  path: string,
  request: ControlRequest,
  timeoutMs = 30_000,
): Promise<SupervisedStatus[]> {
  const socket = createConnection(path);
  socket.setTimeout(timeoutMs, () =>
    socket.destroy(new Error(`The supervisor did not answer in ${timeoutMs} ms.`)),
  );
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    const line = await readLine(socket, answerBytesMax).catch((error: NodeJS.ErrnoException) => {
      const absent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
      throw absent
        ? new Error('No supervisor looks after this region: pando up starts one.', { cause: error })
        : error;
    });
    const answer = controlAnswer.parse(JSON.parse(line));
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.processes ?? [];
  } finally {
    socket.destroy();
  }
}
