/** The certificate authority at its Unix socket. It issues nothing but renewals: first certificates are given by `pando up`, which is root. */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Logger } from '#base/log.ts';
import { certify } from '#base/pki.ts';
import { renewalRequest } from '#contracts/ca.ts';
import type { CaConfig } from './config.ts';
import { grant, Refused } from './policy.ts';

const bodyBytesMax = 32 * 1024;
const requestTimeoutMs = 5_000;
const connectionsMax = 64;

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const part of request.setEncoding('utf8')) {
    text += part;
    if (text.length > bodyBytesMax) throw new Refused('the request is too long');
  }
  return text;
};

const answer = (response: ServerResponse, status: number, body: object): void => {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
};

/** Listens; resolves when it does. */
export const serveCa = async (config: CaConfig, log: Logger): Promise<Server> => {
  const authority = { cert: readFileSync(config.certificate, 'utf8'), key: readFileSync(config.key, 'utf8') };
  const policy = { authority: authority.cert, identities: new Set(config.identities) };

  const renew = async (request: IncomingMessage): Promise<string> => {
    const text = await bodyOf(request);
    const asked = renewalRequest.safeParse(parseJson(text));
    if (!asked.success) throw new Refused('the request is not one');
    const { identity, publicKey } = await grant(policy, asked.data);
    const certificate = await certify(authority, identity, publicKey, config.lifetimeMs);
    log.info({ identity }, 'certificate renewed');
    return certificate;
  };

  const server = createServer({ requestTimeout: requestTimeoutMs, keepAlive: false }, (request, response) => {
    if (request.method !== 'POST' || request.url !== '/renew')
      return answer(response, 404, { error: 'there is POST /renew' });
    renew(request).then(
      (certificate) => answer(response, 200, { certificate }),
      (error: unknown) => {
        const refused = error instanceof Refused;
        log.warn({ err: error }, refused ? 'a certificate was refused' : 'a certificate could not be issued');
        answer(response, refused ? 403 : 500, { error: refused ? error.message : 'it could not be issued' });
      },
    );
  });
  server.maxConnections = connectionsMax;
  rmSync(config.socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.socket, resolve);
  });
  chmodSync(config.socket, 0o666);
  return server;
};

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
