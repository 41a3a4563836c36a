/**
 * Listens for RPC streams. Each peer must present a certificate of the same authority; the access table of
 * what is served decides by its identity.
 */
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { Access } from '#contracts/access.ts';
import { currentTls, identityOf, ownIdentity, parseIdentity, type TlsMaterial } from '../identity.ts';
import { type AccessFacts, rolesOf } from './access.ts';
import type { Contract, Handlers } from './contract.ts';
import { handshakeTimeoutMs } from './limits.ts';
import { RpcStream } from './stream.ts';

export interface RpcServerOptions<Own extends Contract, Remote extends Contract> {
  readonly tls: TlsMaterial;
  readonly host: string;
  readonly port: number;
  readonly contract: Own;
  /** What we may call on the peer. */
  readonly remote: Remote;
  /** Who may call what of `contract`, and so who may connect at all. */
  readonly access: Access<Own>;
  readonly facts?: AccessFacts;
  /** Which of them may connect; default: all. */
  authorize?(identity: string): boolean;
  handlers(stream: RpcStream<Own, Remote>): Handlers<Own>;
  onClose?(stream: RpcStream<Own, Remote>): void;
}

export interface RpcServer {
  readonly port: number;
  close(): Promise<void>;
}

const secureContext = ({ ca, cert, key }: TlsMaterial) => ({ ca, cert, key, minVersion: 'TLSv1.3' }) as const;

export const serveRpc = async <Own extends Contract, Remote extends Contract>(
  options: RpcServerOptions<Own, Remote>,
): Promise<RpcServer> => {
  const streams = new Set<RpcStream<Own, Remote>>();
  const callers = rolesOf(options.access);
  const mayConnect = (identity: string): boolean =>
    callers.has(parseIdentity(identity)?.role ?? '') && options.authorize?.(identity) !== false;
  const accept = (socket: TLSSocket): void => {
    const identity = identityOf(socket);
    if (!socket.authorized || identity === undefined || !mayConnect(identity)) {
      socket.destroy();
      return;
    }
    // Handlers may need the stream itself (to call back), so they are made after it, behind a late-bound object.
    const handlers: Handlers<Own> = {};
    const stream: RpcStream<Own, Remote> = new RpcStream(socket, options.remote, {
      peer: identity,
      self: ownIdentity(options.tls),
      access: options.access,
      facts: options.facts,
      contract: options.contract,
      handlers,
      onClose: () => {
        streams.delete(stream);
        options.onClose?.(stream);
      },
    });
    streams.add(stream);
    Object.assign(handlers, options.handlers(stream));
  };
  let material = currentTls(options.tls);
  const server = createServer(
    {
      ...secureContext(material),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeTimeoutMs,
    },
    accept,
  );
  // Before the server's own listener, which begins the handshake: a renewed certificate is shown to the next who connects.
  server.prependListener('connection', () => {
    const now = currentTls(options.tls);
    if (now !== material) server.setSecureContext(secureContext(now));
    material = now;
  });
  // A client in TLS 1.3 may think itself connected before the server has its certificate: closing must find those sockets too.
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const stream of streams) stream.close('the server is closing');
        for (const socket of sockets) socket.destroy();
      }),
  };
};
