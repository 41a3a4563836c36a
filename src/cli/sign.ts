/** Signs a request in AWS's way (Signature Version 4), for the command line's own calls. */
import { createHash, createHmac } from 'node:crypto';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secret: string;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** What is sent, beside the EC2 API's form to the root. */
export interface SignedCall {
  readonly method: string;
  /** Of plain segments, which need no escape. */
  readonly path: string;
  /** Its parameters in order of their names, percent-encoded as signatures want them. */
  readonly query: string;
  readonly contentType: string;
}

const formToRoot: SignedCall = {
  method: 'POST',
  path: '/',
  query: '',
  contentType: 'application/x-www-form-urlencoded; charset=utf-8',
};

/** Headers for `body`, sent to `host`. Pure: `at` is the time of signing. */
export function signedHeaders(
  credentials: Credentials,
  target: { readonly host: string; readonly region: string; readonly service: string },
  body: string,
  at: Date,
  { method, path, query, contentType: type }: SignedCall = formToRoot,
): Record<string, string> {
  const time = at.toISOString().replace(/[-:]|\.\d{3}/g, '');
  const day = time.slice(0, 8);
  const scope = `${day}/${target.region}/${target.service}/aws4_request`;
  const names = 'content-type;host;x-amz-date';
  const canonical = [
    method,
    path,
    query,
    `content-type:${type}`,
    `host:${target.host}`,
    `x-amz-date:${time}`,
    '',
    names,
    sha256(body),
  ];
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical.join('\n'))].join('\n');
  const key = [day, target.region, target.service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secret}`,
  );
  const signature = hmac(key, toSign).toString('hex');
  return {
    'content-type': type,
    'x-amz-date': time,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}
