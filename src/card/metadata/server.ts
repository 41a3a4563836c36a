/** HTTP in front of the metadata answers, on a listening socket that lives in a VPC's namespace. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Server as SocketServer } from 'node:net';
import { monotonicMs } from '#base/monotonic.ts';
import { metadataConnectionsMax, metadataIdleMsMax, metadataRequestBytesMax } from '../limits.ts';
import { answerMetadata } from './answer.ts';
import type { TokenSigner } from './token.ts';
import type { MetadataSubject } from './tree.ts';

/** Answers on `sockets`. `subjectOf` names the VM by the source address, which the card's firewall vouches for. */
export const serveMetadata = (
  sockets: SocketServer,
  signer: TokenSigner,
  subjectOf: (ip: string) => MetadataSubject | undefined,
): { close(): void } => {
  const http = createServer(
    { maxHeaderSize: metadataRequestBytesMax, requestTimeout: metadataIdleMsMax, keepAliveTimeout: 5_000 },
    (request, response) => {
      const subject = subjectOf(request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '');
      const answer = answerMetadata(
        {
          method: request.method ?? 'GET',
          path: (request.url ?? '/').split('?')[0] ?? '/',
          header: (name) => headerOf(request, name),
        },
        subject,
        signer,
        monotonicMs(),
      );
      respond(request, response, answer);
    },
  );
  http.on('clientError', (_error, socket) => socket.destroy());
  let open = 0;
  sockets.on('error', () => undefined);
  sockets.on('connection', (socket) => {
    if (open >= metadataConnectionsMax) return void socket.destroy();
    open += 1;
    socket.once('close', () => {
      open -= 1;
    });
    http.emit('connection', socket);
  });
  return {
    close: () => {
      sockets.close();
      http.closeAllConnections();
    },
  };
};

const headerOf = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
};

const respond = (
  request: IncomingMessage,
  response: ServerResponse,
  answer: ReturnType<typeof answerMetadata>,
): void => {
  request.resume();
  const body = Buffer.isBuffer(answer.body) ? answer.body : Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'content-type': Buffer.isBuffer(answer.body) ? 'application/octet-stream' : 'text/plain',
    'content-length': body.length,
    server: 'EC2ws',
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
};
