/** Sign-up and sign-in by passkey, with an authenticator in software: what a browser and its authenticator send. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { SoftwareAuthenticator } from '../support/authenticator.ts';
import { Phone } from '../support/phone.ts';
import { type Service, service } from '../support/service.ts';

const origin = 'http://localhost:8480';
let on: Service;

before(async () => {
  on = await service({ config: { mode: 'live', origin } });
});

async function signUp(phone: Phone, authenticator: SoftwareAuthenticator, handle: `@${string}`) {
  const { challengeId, options } = await phone.call('passkeySignUpOptions', {
    handle,
    name: 'Somebody',
    currency: 'EUR',
  });
  return phone.call('passkeySignUp', {
    challengeId,
    response: await authenticator.register(options, origin),
  });
}

test('a person signs up, signs out, and in again', async () => {
  const phone = new Phone(on.url, on.now);
  const authenticator = new SoftwareAuthenticator();
  const me = await signUp(phone, authenticator, '@nora');
  assert.deepEqual([me.handle, me.availableMinor, me.privacy.locationOptIn], ['@nora', '0', false]);
  assert.equal((await phone.call('me')).personId, me.personId);
  const cookie = phone.cookie;
  await phone.call('signOut', {});
  phone.cookie = cookie;
  await assert.rejects(phone.call('me'), { code: 'not_signed_in' });
  const { challengeId, options } = await phone.call('passkeySignInOptions', {});
  const response = await authenticator.authenticate(options, origin);
  assert.equal((await phone.call('passkeySignIn', { challengeId, response })).personId, me.personId);
  await assert.rejects(
    phone.call('passkeySignIn', { challengeId, response }),
    { code: 'passkey_refused' },
    'a challenge is used once',
  );
});

test('the cookie cannot be read by scripts, and expires', async () => {
  const phone = new Phone(on.url, on.now);
  const authenticator = new SoftwareAuthenticator();
  const { challengeId, options } = await phone.call('passkeySignUpOptions', {
    handle: '@olga',
    name: 'Olga',
    currency: 'EUR',
  });
  const reply = await phone.send('passkeySignUp', {
    challengeId,
    response: await authenticator.register(options, origin),
  });
  assert.match(reply.headers.getSetCookie()[0] ?? '', /HttpOnly; SameSite=Strict/);
  on.pass(31 * 24 * 3_600_000);
  await assert.rejects(phone.call('me'), { code: 'not_signed_in' });
});

test('another site’s passkey, a forged one, a taken handle, an unknown one: refused', async () => {
  const phone = new Phone(on.url, on.now);
  const authenticator = new SoftwareAuthenticator();
  await signUp(phone, authenticator, '@pia');
  const evil = await phone.call('passkeySignInOptions', {});
  const phished = await authenticator.authenticate(evil.options, 'https://evil.example');
  await assert.rejects(phone.call('passkeySignIn', { challengeId: evil.challengeId, response: phished }), {
    code: 'passkey_refused',
  });
  const next = await phone.call('passkeySignInOptions', {});
  const genuine = await authenticator.authenticate(next.options, origin);
  const forged = {
    ...genuine,
    response: { ...genuine.response, signature: Buffer.alloc(70, 1).toString('base64url') },
  };
  await assert.rejects(phone.call('passkeySignIn', { challengeId: next.challengeId, response: forged }), {
    code: 'passkey_refused',
  });
  await assert.rejects(signUp(phone, new SoftwareAuthenticator(), '@pia'), { code: 'handle_taken' });
  const unknown = await phone.call('passkeySignInOptions', {});
  const stranger = await new SoftwareAuthenticator().authenticate(unknown.options, origin);
  await assert.rejects(
    phone.call('passkeySignIn', { challengeId: unknown.challengeId, response: stranger }),
    { code: 'passkey_refused' },
  );
});

test('live mode has no demo people', async () => {
  const phone = new Phone(on.url, on.now);
  for (const name of ['demoPeople', 'demoMap'] as const) assert.equal((await phone.send(name)).status, 404);
  assert.equal((await phone.send('demoSignIn', { handle: '@ana' })).status, 404);
  assert.equal((await phone.call('about')).mode, 'live');
});
