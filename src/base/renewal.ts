/**
 * A process keeps its own certificate renewed: at a third of its life it makes a new key, has the authority sign it and replaces its file.
 * Streams that are open stay; what connects from then on uses the new one (`loadTls`).
 */
import { X509Certificate } from 'node:crypto';
import { request } from 'node:http';
import { type RenewalRequest, renewalAnswer } from '#contracts/ca.ts';
import type { TlsPaths } from './config.ts';
import { belongTogether, readTls } from './tlsFromFiles.ts';
import { writeAtomically } from './writeAtomically.ts';

/** Often enough that a failed attempt (the authority is away, a full disk) is repeated many times before anything ends. */
const looksPerLife = 200;
const lookMsMin = 10;
/** Of a certificate that cannot be read, and at most: a timer takes no more than 24 days. */
const lookMsMax = 60 * 60_000;
const askTimeoutMs = 10_000;
const answerBytesMax = 64 * 1024;

/** Who is told what came of it; a logger is one. */
export interface RenewalLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export interface Renewal {
  stop(): void;
}

const lifeOf = (certificate: string): { wholeMs: number; leftMs: number } => {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const end = Date.parse(validTo);
  return { wholeMs: end - Date.parse(validFrom), leftMs: end - Date.now() };
};

/** Both are one file: no crash leaves a pair that does not match. */
export const pairOf = (key: string, cert: string): string => `${key.trimEnd()}\n${cert.trimEnd()}\n`;

/** Asks the authority at the Unix socket `socket`. Throws with what it refused, or when it does not answer. */
export const askAuthority = (socket: string, asked: RenewalRequest): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request(
      { socketPath: socket, method: 'POST', path: '/renew', timeout: askTimeoutMs },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
          if (text.length > answerBytesMax) sent.destroy(new Error('its answer is too long'));
        });
        response.once('error', reject).once('end', () => {
          try {
            const answer = renewalAnswer.parse(JSON.parse(text));
            if ('error' in answer) reject(new Error(`it refuses: ${answer.error}`));
            else resolve(answer.certificate);
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    sent.once('error', reject);
    sent.once('timeout', () => sent.destroy(new Error(`it did not answer in ${askTimeoutMs} ms`)));
    sent.end(JSON.stringify(asked));
  });

/** Renews the certificate in `files` now. */
const renew = async (files: TlsPaths & { readonly authority: string }): Promise<void> => {
  // Loaded when it is needed, once in weeks: it would make every process's start slower.
  const { askAnew } = await import('./certificateRequest.ts');
  const present = readTls(files);
  const { key, asked } = await askAnew(present);
  const cert = await askAuthority(files.authority, asked);
  if (!belongTogether({ ca: present.ca, cert, key }))
    throw new Error('what it answered is no certificate of ours');
  await writeAtomically(files.cert, pairOf(key, cert));
};

/**
 * Looks at once, then again and again; what fails is said and tried again. Files without an authority (or whose key is a file of its
 * own) are somebody else's to renew: nothing is done.
 */
export const keepCertificate = (files: TlsPaths, log: RenewalLog): Renewal => {
  const { authority } = files;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const look = async (): Promise<void> => {
    let nextMs = lookMsMax;
    try {
      const { wholeMs, leftMs } = lifeOf(readTls(files).cert);
      nextMs = Math.min(lookMsMax, Math.max(lookMsMin, wholeMs / looksPerLife));
      if (authority !== undefined && leftMs < wholeMs / 3) {
        await renew({ ...files, authority });
        log.info({ file: files.cert }, 'certificate renewed');
      }
    } catch (error) {
      log.warn({ err: error, file: files.cert }, 'the certificate could not be renewed: trying again');
    }
    if (!stopped) timer = setTimeout(() => void look(), nextMs).unref();
  };
  if (authority !== undefined && files.cert === files.key) void look();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
};
