/** Sign-up and sign-in by passkey: WebAuthn by @simplewebauthn, discoverable credentials, the user verified. */
import {
  type AuthenticationResponseJSON,
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type RegistrationResponseJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from '@simplewebauthn/server';
import { z } from 'zod';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { Currency, DisplayName, Handle } from '../contract/primitives.ts';
import { first, run } from '../store/pool.ts';
import { addPerson } from './people.ts';

const challengeMs = 5 * 60_000;

/** Who the server is to WebAuthn: the pages' host name and origin. */
export interface RelyingParty {
  readonly rpId: string;
  readonly origin: string;
}

const Draft = z.object({ handle: Handle, name: DisplayName, currency: Currency });
type Draft = z.infer<typeof Draft>;

export async function signUpOptions(unit: Unit, rp: RelyingParty, draft: Draft) {
  const options = await generateRegistrationOptions({
    rpName: 'Pando Payments',
    rpID: rp.rpId,
    userName: draft.handle,
    userDisplayName: draft.name,
    attestationType: 'none',
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    supportedAlgorithmIDs: [-7, -257],
  });
  return { challengeId: await keepChallenge(unit, options.challenge, draft), options: { ...options } };
}

/** Makes the person. Errors: `passkey_refused`, `handle_taken`. */
export async function signUp(
  unit: Unit,
  rp: RelyingParty,
  challengeId: string,
  response: object,
): Promise<string> {
  const { challenge, draft } = await takeChallenge(unit, challengeId);
  const who = Draft.safeParse(draft);
  if (!who.success) throw refused('This challenge was for signing in.');
  const credential = await verifyRegistration(rp, challenge, response);
  const personId = await addPerson(unit, who.data);
  const rows = await run(
    unit.on,
    `insert into passkey (credential_id, person_id, public_key, counter, added_ms) values ($1, $2, $3, $4, $5)
     on conflict do nothing returning 1`,
    [credential.id, personId, Buffer.from(credential.publicKey), credential.counter, unit.nowMs],
  );
  if (rows.length === 0) throw refused('This passkey is registered already. Sign in with it.');
  return personId;
}

async function verifyRegistration(rp: RelyingParty, challenge: string, response: object) {
  try {
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      // The library checks every field of it.
      response: response as RegistrationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: rp.origin,
      expectedRPID: rp.rpId,
      requireUserVerification: true,
    });
    if (!verified) throw new Error('not verified');
    return registrationInfo.credential;
  } catch (error) {
    throw refused('The passkey could not be verified. Start again.', error);
  }
}

export async function signInOptions(unit: Unit, rp: RelyingParty) {
  const options = await generateAuthenticationOptions({ rpID: rp.rpId, userVerification: 'required' });
  return { challengeId: await keepChallenge(unit, options.challenge), options: { ...options } };
}

/** Who signed in. Error: `passkey_refused`, the same for an unknown passkey and a wrong signature. */
export async function signIn(
  unit: Unit,
  rp: RelyingParty,
  challengeId: string,
  response: object,
): Promise<string> {
  const { challenge } = await takeChallenge(unit, challengeId);
  const id = 'id' in response && typeof response.id === 'string' ? response.id : '';
  const known = await first<{
    credential_id: string;
    person_id: string;
    public_key: Buffer;
    counter: bigint;
  }>(unit.on, 'select * from passkey where credential_id = $1 for update', [id]);
  if (known === undefined) throw refused('This passkey does not sign in here.');
  const counter = await verifyAuthentication(rp, challenge, response, {
    id: known.credential_id,
    publicKey: new Uint8Array(known.public_key),
    counter: Number(known.counter),
  });
  await run(unit.on, 'update passkey set counter = $2 where credential_id = $1', [id, counter]);
  return known.person_id;
}

async function verifyAuthentication(
  rp: RelyingParty,
  challenge: string,
  response: object,
  credential: { id: string; publicKey: Uint8Array<ArrayBuffer>; counter: number },
): Promise<number> {
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: response as AuthenticationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: rp.origin,
      expectedRPID: rp.rpId,
      credential,
      requireUserVerification: true,
    });
    if (!verified) throw new Error('not verified');
    return authenticationInfo.newCounter;
  } catch (error) {
    throw refused('This passkey does not sign in here.', error);
  }
}

const refused = (message: string, cause?: unknown): PaymentsError =>
  new PaymentsError('passkey_refused', message, { cause });

async function keepChallenge(unit: Unit, challenge: string, draft?: Draft): Promise<string> {
  const challengeId = newId('chl', unit.nowMs);
  await run(
    unit.on,
    'insert into passkey_challenge (challenge_id, challenge, draft, expires_ms) values ($1, $2, $3, $4)',
    [challengeId, challenge, draft === undefined ? null : JSON.stringify(draft), unit.nowMs + challengeMs],
  );
  return challengeId;
}

async function takeChallenge(
  unit: Unit,
  challengeId: string,
): Promise<{ challenge: string; draft: unknown }> {
  const row = await first<{ challenge: string; draft: unknown; expires_ms: bigint }>(
    unit.on,
    'delete from passkey_challenge where challenge_id = $1 returning *',
    [challengeId],
  );
  if (row === undefined || Number(row.expires_ms) <= unit.nowMs)
    throw refused('The challenge was used or has expired. Start again.');
  return row;
}
