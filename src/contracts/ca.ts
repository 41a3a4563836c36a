/** What a process asks the certificate authority (`POST /renew` over its Unix socket): a new certificate for who it is already. */
import { z } from 'zod';

const pemCharsMax = 8 * 1024;
const pem = z.string().max(pemCharsMax);

export const renewalRequest = z.object({
  /** The certificate that it has, still valid. */
  certificate: pem,
  /** PKCS #10: proves that it has the new key. Names in it are not looked at. */
  request: pem,
  /** `renewalStatement(request)` signed with the present certificate's key, base64. */
  signature: z.string().max(1024),
});
export type RenewalRequest = z.infer<typeof renewalRequest>;

export const renewalAnswer = z.union([z.object({ certificate: pem }), z.object({ error: z.string() })]);

/** What is signed: no signature that is made for anything else is good for a renewal. */
export const renewalStatement = (request: string): string => `pando certificate renewal\n${request}`;
