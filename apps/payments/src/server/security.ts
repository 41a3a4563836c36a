/** Headers of every answer, cookies, and where a request may come from. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PaymentsError } from '../base/errors.ts';

const contentSecurityPolicy = [
  `default-src 'none'`,
  `script-src 'self'`,
  `style-src 'self'`,
  `img-src 'self' data:`,
  `font-src 'self'`,
  `connect-src 'self'`,
  `manifest-src 'self'`,
  `worker-src 'self'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ');

export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': contentSecurityPolicy,
  'permissions-policy': 'geolocation=(self), camera=(self), microphone=(), payment=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

export const sessionCookie = 'pando_session';
export const operatorCookie = 'pando_operator';

export function cookieOf(request: FastifyRequest, name: string): string | undefined {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = part.trim().split('=');
    if (key === name && value !== undefined && /^[A-Za-z0-9_-]{1,128}$/.test(value)) return value;
  }
  return undefined;
}

/** Scripts cannot read it, other sites cannot send it; over plain HTTP (loopback) it has no `Secure`. */
export function setCookie(
  reply: FastifyReply,
  name: string,
  value: string,
  isSecure: boolean,
  maxAgeS: number,
): void {
  reply.header(
    'set-cookie',
    `${name}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeS}${isSecure ? '; Secure' : ''}`,
  );
}

/**
 * A browser names the page's origin with everything that is not a plain read: it must be the configured one, or the very host that the
 * request came to (a development server in between, loopback by number).
 */
export function checkOrigin(request: FastifyRequest, configured: string): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const { origin, host } = request.headers;
  const site = request.headers['sec-fetch-site'];
  const isOurs =
    origin === undefined
      ? site === undefined || site === 'same-origin'
      : origin === configured || hostOf(origin) === host;
  if (!isOurs) throw new PaymentsError('origin_refused', 'This request comes from another site.');
}

const hostOf = (origin: string): string | undefined =>
  URL.canParse(origin) ? new URL(origin).host : undefined;
