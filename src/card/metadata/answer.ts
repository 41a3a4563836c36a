/** One request to the metadata service → its answer. Pure but for the clock that is passed in. */
import { tokenSecondsMax } from '../limits.ts';
import type { TokenSigner } from './token.ts';
import { apiVersions, lookUp, type MetadataSubject, versionTree } from './tree.ts';

export interface MetadataRequest {
  readonly method: string;
  readonly path: string;
  header(name: string): string | undefined;
}

export interface MetadataAnswer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

const tokenHeader = 'x-aws-ec2-metadata-token';
const ttlHeader = 'x-aws-ec2-metadata-token-ttl-seconds';

/** `subject`: the VM whose interface the request came from; undefined: none that is known here. */
export const answerMetadata = (
  request: MetadataRequest,
  subject: MetadataSubject | undefined,
  signer: TokenSigner,
  nowMs: number,
): MetadataAnswer => {
  if (subject === undefined) return { status: 404, body: 'Not Found\n' };
  if (subject.metadata.httpEndpoint === 'disabled') return { status: 403, body: 'Forbidden\n' };
  if (request.method === 'PUT') return answerPut(request, subject, signer, nowMs);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { status: 405, body: 'Method Not Allowed\n' };
  const token = request.header(tokenHeader);
  const eniId = subject.port.eniId;
  const leftMs = token === undefined ? 0 : signer.remainingMs(token, eniId, nowMs);
  if (leftMs === 0 && (token !== undefined || subject.metadata.httpTokens === 'required'))
    return { status: 401, body: 'Unauthorized\n' };
  const found = answerGet(request.path, subject);
  if (found === undefined) return { status: 404, body: 'Not Found\n' };
  return {
    status: 200,
    body: found,
    headers: leftMs === 0 ? {} : { [ttlHeader]: String(Math.ceil(leftMs / 1000)) },
  };
};

const answerPut = (
  request: MetadataRequest,
  subject: MetadataSubject,
  signer: TokenSigner,
  nowMs: number,
): MetadataAnswer => {
  if (!/^\/[^/]+\/api\/token\/?$/.test(request.path)) return { status: 405, body: 'Method Not Allowed\n' };
  // An open proxy in the VM would add it: no token for whoever stands behind one.
  if (request.header('x-forwarded-for') !== undefined) return { status: 403, body: 'Forbidden\n' };
  const seconds = request.header(ttlHeader) ?? '';
  if (!/^\d{1,5}$/.test(seconds) || Number(seconds) < 1 || Number(seconds) > tokenSecondsMax)
    return { status: 400, body: 'Bad Request\n' };
  return {
    status: 200,
    body: signer.issue(subject.port.eniId, Number(seconds), nowMs),
    headers: { [ttlHeader]: seconds },
  };
};

const answerGet = (path: string, subject: MetadataSubject): string | Buffer | undefined => {
  const parts = path.split('/').filter((part) => part !== '');
  const [version, ...rest] = parts;
  if (version === undefined) return apiVersions.join('\n');
  if (!apiVersions.some((known) => known === version)) return undefined;
  return lookUp(versionTree(subject), rest.map(decode), subject.metadata.keyName);
};

const decode = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};
