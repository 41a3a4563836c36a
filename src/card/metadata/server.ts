/** HTTP in front of the metadata answers, on a listening socket that lives in a VPC's namespace. Everything about it is bounded. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket, Server as SocketServer } from 'node:net';
import { monotonicMs } from '#base/monotonic.ts';
import {
  metadataBodyBytesMax,
  metadataConnectionMsMax,
  metadataConnectionsMax,
  metadataConnectionsPerVmMax,
  metadataRequestBytesMax,
  metadataRequestsPerConnectionMax,
} from '../limits.ts';
import { answerMetadata } from './answer.ts';
import type { TokenSigner } from './token.ts';
import type { MetadataSubject } from './tree.ts';

/** Not imported: an `import` of it evaluates all that it exports, a whole HTTP client among that, which is half of this process's start. */
const { createServer } = process.getBuiltinModule('node:http');

/** Answers on `sockets`. `subjectOf` names the VM by the source address, which the card's firewall vouches for. */
export const serveMetadata = (
  sockets: SocketServer,
  signer: () => TokenSigner | undefined,
  subjectOf: (ip: string) => MetadataSubject | undefined,
): void => {
  const http = createServer({ maxHeaderSize: metadataRequestBytesMax }, (request, response) => {
    const now = signer();
    const answer =
      now === undefined
        ? { status: 503, body: 'Service Unavailable\n' }
        : answerMetadata(
            {
              method: request.method ?? 'GET',
              path: (request.url ?? '/').split('?')[0] ?? '/',
              header: (name) => headerOf(request, name),
            },
            subjectOf(addressOf(request.socket)),
            now,
            monotonicMs(),
          );
    respond(request, response, answer);
  });
  http.maxRequestsPerSocket = metadataRequestsPerConnectionMax;
  http.on('clientError', (_error, socket) => socket.destroy());
  const connections = new Connections();
  sockets.on('error', () => undefined);
  sockets.on('connection', (socket) => {
    if (connections.take(socket)) http.emit('connection', socket);
    else socket.destroy();
  });
};

const addressOf = ({ remoteAddress = '' }: Socket): string => remoteAddress.replace(/^::ffff:/, '');

/** A VM that opens many, or lets one last (a byte now and then), leaves the others theirs. */
class Connections {
  readonly #open = new Map<string, number>();
  #all = 0;

  /** Whether there is room for it; it ends by itself after a while. */
  take(socket: Socket): boolean {
    const ip = addressOf(socket);
    const own = this.#open.get(ip) ?? 0;
    if (own >= metadataConnectionsPerVmMax || this.#all >= metadataConnectionsMax) return false;
    this.#open.set(ip, own + 1);
    this.#all += 1;
    const timer = setTimeout(() => socket.destroy(), metadataConnectionMsMax);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#all -= 1;
      const left = (this.#open.get(ip) ?? 1) - 1;
      if (left === 0) this.#open.delete(ip);
      else this.#open.set(ip, left);
    });
    return true;
  }
}

const headerOf = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
};

const respond = (
  request: IncomingMessage,
  response: ServerResponse,
  answer: ReturnType<typeof answerMetadata>,
): void => {
  // No request has a body that is of use.
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > metadataBodyBytesMax) request.destroy();
  });
  const body = Buffer.isBuffer(answer.body) ? answer.body : Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'content-type': Buffer.isBuffer(answer.body) ? 'application/octet-stream' : 'text/plain',
    'content-length': body.length,
    server: 'EC2ws',
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
};
