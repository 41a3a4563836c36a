import { timingSafeEqual } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from '../limits.ts';
import { canonicalRequest, headerValues, type SignedRequest, sha256Hex } from './canonical.ts';
import { basicTime, incomplete, parseBasicTime, readClaim, type SignatureClaim } from './claim.ts';
import { DayKeys, scopeName, signatureWith } from './dayKeys.ts';

/** The least that a key's record must hold: signing keys by `scopeName`, or the secret that they derive from. */
export interface SigningKey {
  readonly signingKeys?: ReadonlyMap<string, Buffer> | undefined;
  readonly secret?: string | undefined;
  /** Temporary keys alone: the token that must come with each request. */
  readonly sessionToken?: string | undefined;
  /** Temporary keys alone: milliseconds since 1970. */
  readonly expiresAtMs?: number | undefined;
}

/** What verification needs from its caller. */
export interface SigV4Options<K extends SigningKey> {
  /** The record of an access key, or `undefined` if there is none: none that this session token, if one came, is of. */
  readonly lookupKey: (accessKeyId: string, sessionToken: string | undefined) => Promise<K | undefined>;
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** The regions that requests may be signed for; left out: any. */
  readonly regions?: readonly string[];
  /** The services that requests may be signed for. */
  readonly services?: readonly string[];
  /** Left out: one cache that all verifications of the process share. */
  readonly dayKeys?: DayKeys;
}

/** Who signed a request, and for which region and service. */
export interface VerifiedSignature<K> {
  readonly accessKeyId: string;
  readonly region: string;
  readonly service: string;
  readonly key: K;
}

const sharedDayKeys = new DayKeys();
const skewMsMax = wireLimits.clockSkewMinutesMax * 60_000;

/**
 * Verifies a request's AWS Signature Version 4, in the `Authorization` header or in the query (presigned).
 *
 * @throws `MissingAuthenticationToken`, `IncompleteSignature`, `RequestExpired`, `SignatureDoesNotMatch`,
 * `AuthFailure` or `InvalidClientTokenId` (unknown key, or not its session token), `ExpiredToken`, `MalformedQueryString`; `Unavailable` when the key's record has nothing for
 * the day of the signature; whatever `lookupKey` throws.
 */
export async function verifySigV4<K extends SigningKey>(
  request: SignedRequest,
  options: SigV4Options<K>,
): Promise<VerifiedSignature<K>> {
  const claim = readClaim(request);
  checkScope(claim, options);
  checkTime(claim, options.now());
  checkSignedHeaders(request, claim);
  const payloadHash = checkPayload(request);
  const key = await options.lookupKey(claim.accessKeyId, claim.sessionToken);
  if (key === undefined) throw unknownKey(claim.service);
  const canonical = canonicalRequest(request, claim.parameters, claim.signedHeaders, payloadHash);
  const expected = signatureWith(signingKeyOf(key, claim, options.dayKeys), stringToSign(claim, canonical));
  if (!timingSafeEqual(expected, Buffer.from(claim.signature, 'hex'))) throw mismatch();
  if (key.sessionToken !== undefined && !sameText(key.sessionToken, claim.sessionToken))
    throw unknownKey(claim.service);
  // A token says that the key is temporary: with a permanent one, somebody has mixed up two sets of credentials.
  if (key.sessionToken === undefined && claim.sessionToken) throw unknownKey(claim.service);
  if (key.expiresAtMs !== undefined && options.now() >= key.expiresAtMs) throw expired(claim.service);
  const { accessKeyId, region, service } = claim;
  return { accessKeyId, region, service, key };
}

/** Records are renewed often: one without a key for a day that is valid now is of before a long outage. */
function signingKeyOf(key: SigningKey, claim: SignatureClaim, dayKeys = sharedDayKeys): Buffer {
  if (key.secret !== undefined) return dayKeys.derive(claim, key.secret);
  const found = key.signingKeys?.get(scopeName(claim));
  if (found === undefined)
    throw new PandoError('Unavailable', 'Credentials cannot be checked for the moment. Retry your request.');
  return found;
}

function stringToSign(claim: SignatureClaim, canonical: string): string {
  const scope = `${claim.day}/${claim.region}/${claim.service}/aws4_request`;
  return `AWS4-HMAC-SHA256\n${claim.signedAt}\n${scope}\n${sha256Hex(canonical)}`;
}

function checkScope(
  claim: SignatureClaim,
  options: { regions?: readonly string[]; services?: readonly string[] },
): void {
  const services = options.services ?? ['ec2', 'sts'];
  if (claim.terminator !== 'aws4_request') {
    throw refused(
      `Credential should be scoped with a valid terminator: 'aws4_request', not '${claim.terminator}'.`,
    );
  }
  if (!services.includes(claim.service)) {
    throw refused(`Credential should be scoped to correct service: '${services[0] ?? ''}'.`);
  }
  if (options.regions !== undefined && !options.regions.includes(claim.region)) {
    throw refused(`Credential should be scoped to a valid region, not '${claim.region}'.`);
  }
  if (claim.signedAt.slice(0, 8) !== claim.day) {
    throw refused(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${claim.day}' != '${claim.signedAt.slice(0, 8)}'.`,
    );
  }
}

/** The messages name the server's time, from which a client learns how wrong its own clock is. */
function checkTime(claim: SignatureClaim, nowMs: number): void {
  const signedMs = parseBasicTime(claim.signedAt);
  if (Number.isNaN(signedMs)) throw incomplete("The time of signing must have the form 'YYYYMMDDTHHMMSSZ'.");
  const now = basicTime(nowMs);
  const minutes = `${wireLimits.clockSkewMinutesMax} min.`;
  if (signedMs > nowMs + skewMsMax) {
    const latest = basicTime(nowMs + skewMsMax);
    throw refused(
      `Signature not yet current: ${claim.signedAt} is still later than ${latest} (${now} + ${minutes})`,
    );
  }
  if (claim.expiresSeconds !== undefined) {
    if (nowMs > signedMs + claim.expiresSeconds * 1000) {
      const end = basicTime(signedMs + claim.expiresSeconds * 1000);
      throw new PandoError(
        'RequestExpired',
        `Request has expired: its signature held until ${end}, and it is ${now}.`,
      );
    }
  } else if (signedMs < nowMs - skewMsMax) {
    const earliest = basicTime(nowMs - skewMsMax);
    throw new PandoError(
      'RequestExpired',
      `Signature expired: ${claim.signedAt} is now earlier than ${earliest} (${now} - ${minutes})`,
    );
  }
}

/** A header that decides what the request means, and that the signature does not cover, may be anyone's. */
function checkSignedHeaders(request: SignedRequest, claim: SignatureClaim): void {
  const names = Object.keys(request.headers).filter((name) => headerValues(request.headers, name).length > 0);
  const mustSign = [
    'host',
    ...names.map((name) => name.toLowerCase()).filter((name) => /^x-(?:amz|pando)-/.test(name)),
  ];
  const unsigned = mustSign.find((name) => !claim.signedHeaders.includes(name));
  if (unsigned !== undefined) {
    throw refused(`'${unsigned.slice(0, 64)}' must be a 'SignedHeader' in the AWS Authorization.`);
  }
  const absent = claim.signedHeaders.find((name) => headerValues(request.headers, name).length === 0);
  if (absent !== undefined)
    throw refused(`The signed header '${absent.slice(0, 64)}' is not in the request.`);
}

function checkPayload(request: SignedRequest): string {
  const hash = request.body instanceof Uint8Array ? sha256Hex(request.body) : request.body.sha256;
  const declared = headerValues(request.headers, 'x-amz-content-sha256');
  if (declared.some((value) => value.trim() !== hash)) {
    throw refused("The provided 'x-amz-content-sha256' header does not match what was computed.");
  }
  return hash;
}

function sameText(expected: string, given: string | undefined): boolean {
  return timingSafeEqual(Buffer.from(sha256Hex(expected)), Buffer.from(sha256Hex(given ?? '')));
}

function unknownKey(service: string): PandoError {
  if (service === 'sts') {
    return new PandoError('InvalidClientTokenId', 'The security token included in the request is invalid.');
  }
  return new PandoError('AuthFailure', 'AWS was not able to validate the provided access credentials');
}

/** Of a session, in each service's own words: SDKs fetch new credentials on either. */
function expired(service: string): PandoError {
  return service === 'sts'
    ? new PandoError('ExpiredToken', 'The security token included in the request is expired')
    : new PandoError('RequestExpired', 'Request has expired.');
}

function mismatch(): PandoError {
  return refused(
    'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
  );
}

function refused(message: string): PandoError {
  return new PandoError('SignatureDoesNotMatch', message);
}
