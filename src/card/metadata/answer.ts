/**
 * One request to the metadata service → its answer. Pure but for the clock that is passed in. Statuses, `Allow` and headers are
 * those that EC2's own service is known to answer.
 */
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

/** Pages of errors, which scripts look for words in. */
const page = (status: number, words: string): MetadataAnswer => ({
  status,
  headers: { 'content-type': 'text/html' },
  body: `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>${status} - ${words}</title>
 </head>
 <body>
  <h1>${status} - ${words}</h1>
 </body>
</html>
`,
});
const notFound = page(404, 'Not Found');
const forbidden = page(403, 'Forbidden');
const badRequest = page(400, 'Bad Request');
const unauthorized = page(401, 'Unauthorized');

const isTokenPath = (path: string): boolean => /^\/[^/]+\/api\/token\/?$/.test(path);

/** What a path is good for. */
const allowed = (path: string): readonly string[] =>
  isTokenPath(path) ? ['OPTIONS', 'PUT'] : ['OPTIONS', 'GET', 'HEAD'];

/** `subject`: the VM whose interface the request came from; undefined: none that is known here. */
export const answerMetadata = (
  request: MetadataRequest,
  subject: MetadataSubject | undefined,
  signer: TokenSigner,
  nowMs: number,
): MetadataAnswer => {
  if (subject === undefined) return notFound;
  if (subject.metadata.httpEndpoint === 'disabled') return forbidden;
  const methods = allowed(request.path);
  const allow = { allow: methods.join(', ') };
  if (!methods.includes(request.method)) return { status: 405, body: '', headers: allow };
  // It tells nothing of the instance, so it asks for no token.
  if (request.method === 'OPTIONS') return { status: 200, body: '', headers: allow };
  if (request.method === 'PUT') return answerPut(request, subject, signer, nowMs);
  const token = request.header(tokenHeader);
  const leftMs = token === undefined ? 0 : signer.remainingMs(token, subject.port.eniId, nowMs);
  if (leftMs === 0 && (token !== undefined || subject.metadata.httpTokens === 'required'))
    return unauthorized;
  return answerGet(
    request.path,
    subject,
    leftMs === 0 ? {} : { [ttlHeader]: String(Math.ceil(leftMs / 1000)) },
  );
};

const answerPut = (
  request: MetadataRequest,
  subject: MetadataSubject,
  signer: TokenSigner,
  nowMs: number,
): MetadataAnswer => {
  // An open proxy in the VM would add it: no token for whoever stands behind one.
  if (request.header('x-forwarded-for') !== undefined) return forbidden;
  const seconds = request.header(ttlHeader) ?? '';
  if (!/^\d{1,5}$/.test(seconds) || Number(seconds) < 1 || Number(seconds) > tokenSecondsMax)
    return badRequest;
  return {
    status: 200,
    body: signer.issue(subject.port.eniId, Number(seconds), nowMs),
    headers: { [ttlHeader]: seconds },
  };
};

const answerGet = (
  path: string,
  subject: MetadataSubject,
  headers: Readonly<Record<string, string>>,
): MetadataAnswer => {
  const found = read(path, subject);
  if (found === undefined) return { ...notFound, headers: { ...notFound.headers, ...headers } };
  const launched = new Date(subject.metadata.launchTime);
  return {
    status: 200,
    body: found,
    headers: {
      'accept-ranges': 'none',
      ...(Number.isNaN(launched.getTime()) ? {} : { 'last-modified': launched.toUTCString() }),
      ...headers,
    },
  };
};

const read = (path: string, subject: MetadataSubject): string | Buffer | undefined => {
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
