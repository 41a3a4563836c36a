/** A network between phones and the service that a test can cut: before a request arrives, or after it and before its answer. */
import { request as ask, createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

type Loss = 'answers' | 'answersToPosts' | 'all';

export interface Network {
  readonly port: number;
  /** Where requests go. Set once the service listens. */
  target(port: number): void;
  /**
   * `answers`: posts arrive and are done, their answers are lost, and nothing can be read.
   * `answersToPosts`: the same, but pages and lists can be read. `all`: nothing arrives. Open streams end.
   */
  cut(what: Loss): void;
  mend(): void;
  /** Requests of this method and path that reached the service, answered or not. */
  arrived(what: string): number;
  close(): Promise<void>;
}

export async function openNetwork(): Promise<Network> {
  let target = 0;
  let lost: Loss | undefined;
  const arrived: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((incoming, answer) => {
    const isPost = incoming.method === 'POST';
    if (lost === 'all' || (lost === 'answers' && !isPost)) return void incoming.socket.destroy();
    arrived.push(`${incoming.method} ${incoming.url}`);
    const upstream = ask(
      {
        port: target,
        host: '127.0.0.1',
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      (reply) => {
        if (lost !== undefined && (isPost || lost !== 'answersToPosts')) {
          // The service has done its work: only its answer does not come through.
          reply.resume().on('end', () => incoming.socket.destroy());
          return;
        }
        answer.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(answer);
      },
    );
    upstream.on('error', () => incoming.socket.destroy());
    answer.on('close', () => upstream.destroy());
    incoming.pipe(upstream);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    target: (port) => {
      target = port;
    },
    cut: (what) => {
      lost = what;
      for (const socket of sockets) socket.destroy();
    },
    mend: () => {
      lost = undefined;
    },
    arrived: (what) => arrived.filter((each) => each === what).length,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
