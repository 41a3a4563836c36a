/** Who signed a request: SigV4 against keys that are looked up, with a limit on those who guess. */
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';
import { sessionTokenCharsMax } from '#contracts/region.ts';
import { type VerifiedSignature, verifySigV4 } from '#wire/sigv4/verify.ts';
import type { AccessKey } from '../regionLink.ts';
import type { Progress, ReadOptions } from './readRequest.ts';

/** What was signed, as it came over the wire. */
export interface SignedParts {
  readonly path: string;
  readonly query: string;
  readonly body: { readonly sha256: string };
}

/** `reserved` collects what the request takes of the account's limit. @throws every error of `verifySigV4`; `RequestLimitExceeded` */
export const authenticate = async (
  request: IncomingMessage,
  { path, query, body }: SignedParts,
  options: ReadOptions,
  progress: Progress,
  reserved: DisposableStack,
): Promise<VerifiedSignature<AccessKey>> => {
  const source = request.socket.remoteAddress;
  const signature = await verifySigV4(
    { method: request.method ?? '', path, query, headers: request.headersDistinct, body },
    {
      lookupKey: (id, token) => lookUp(options, id, token, source),
      now: options.now,
      ...(options.anyRegion === true ? {} : { regions: [options.regionName] }),
      services: ['ec2', 'sts'],
    },
  ).catch((error: unknown) => {
    if (isNobodys(error)) options.sources.failed(source);
    throw error;
  });
  const { accountId, arn, userId } = signature.key;
  progress.accountId = accountId;
  progress.caller = { accountId, arn, userId, accessKeyId: signature.accessKeyId };
  reserved.defer(options.admission.enterAccount(accountId));
  return signature;
};

/** An access key id or a token of no such form is not worth a question to the region. */
const lookUp = async (
  { admission, keys, sources }: ReadOptions,
  accessKeyId: string,
  token: string | undefined,
  source: string | undefined,
) => {
  if (!/^\w{16,128}$/.test(accessKeyId)) return undefined;
  const temporary = accessKeyId.startsWith('ASIA');
  if (temporary && (!token || token.length > sessionTokenCharsMax)) return undefined;
  // A permanent key is looked up without the token, which the check of the signature then refuses.
  const sessionToken = temporary ? token : undefined;
  if (keys.knows(accessKeyId, sessionToken)) return keys.get(accessKeyId, sessionToken);
  sources.check(source);
  using waiting = new DisposableStack();
  waiting.defer(admission.enterUnknown());
  return await keys.get(accessKeyId, sessionToken);
};

/** What says that the caller is not who it claims to be, as opposed to: that we could not find out. */
const isNobodys = (error: unknown): boolean => {
  const { status } = PandoError.from(error);
  return status >= 400 && status < 500;
};
