/**
 * A carrier's side that knows where each simulated phone is attached, behind CAMARA's API over HTTP. A real carrier, or the carrier's
 * side of an edge zone, takes its place by another base URL.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Position } from '../contract/primitives.ts';
import { distanceM } from '../location/geodesic.ts';
import { type UnableCode, type VerifyAnswer, VerifyRequest, verifyPath } from './verification.ts';

const requestBytesMax = 8 * 1024;
/** Circles that are smaller than any of the network's cells ask for what it cannot know. */
const areaRadiusMMin = 100;

/** Where a phone is attached: the place and reach of its cell, and when the network last heard it. */
export interface Attachment {
  readonly position: Position;
  readonly cellRadiusM: number;
  readonly seenMs: number;
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

export interface CarrierStandIn {
  readonly baseUrl: string;
  /** Sets where a phone is attached; undefined: the network does not know it. */
  attach(phoneNumber: string, attachment: Attachment | undefined): void;
  close(): Promise<void>;
}

export interface StandInOptions {
  readonly clock: Clock;
  /** Loopback port; default: a free one. */
  readonly port?: number;
  /** Places that the network covers; default: everywhere. */
  covers?(position: Position): boolean;
}

/** The carrier's answer, from where the phone may be (its cell's disc) and the circle that is asked about. Pure. */
export function verdict(at: Attachment, area: VerifyRequest['area']): Omit<VerifyAnswer, 'lastLocationTime'> {
  const apart = distanceM(at.position, area.center);
  if (apart + at.cellRadiusM <= area.radius) return { verificationResult: 'TRUE' };
  if (apart >= at.cellRadiusM + area.radius) return { verificationResult: 'FALSE' };
  const share = overlap(apart, at.cellRadiusM, area.radius) / (Math.PI * at.cellRadiusM ** 2);
  return { verificationResult: 'PARTIAL', matchRate: Math.min(99, Math.max(1, Math.round(share * 100))) };
}

/** Area that two discs have in common. */
function overlap(apart: number, r: number, s: number): number {
  if (apart <= Math.abs(r - s)) return Math.PI * Math.min(r, s) ** 2;
  const cosine = (value: number): number => Math.acos(Math.min(1, Math.max(-1, value)));
  const alpha = cosine((apart ** 2 + r ** 2 - s ** 2) / (2 * apart * r));
  const beta = cosine((apart ** 2 + s ** 2 - r ** 2) / (2 * apart * s));
  return r ** 2 * (alpha - Math.sin(2 * alpha) / 2) + s ** 2 * (beta - Math.sin(2 * beta) / 2);
}

export async function startCarrierStandIn(options: StandInOptions): Promise<CarrierStandIn> {
  const phones = new Map<string, Attachment>();
  const server = createServer((request, response) => {
    answer(phones, options, request)
      .then((result) => send(response, 'verificationResult' in result ? 200 : result.status, result))
      .catch(() => send(response, 500, { status: 500, code: 'INTERNAL', message: 'The stand-in failed.' }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    attach: (phoneNumber, attachment) =>
      void (attachment === undefined ? phones.delete(phoneNumber) : phones.set(phoneNumber, attachment)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  phones: ReadonlyMap<string, Attachment>,
  options: StandInOptions,
  request: IncomingMessage,
): Promise<VerifyAnswer | Refusal> {
  if (request.method !== 'POST' || request.url !== verifyPath)
    return { status: 404, code: 'NOT_FOUND', message: `Only POST ${verifyPath} is here.` };
  const parsed = VerifyRequest.safeParse(await jsonOf(request));
  if (!parsed.success)
    return { status: 400, code: 'INVALID_ARGUMENT', message: parsed.error.issues[0]?.message ?? '' };
  const { device, area, maxAge } = parsed.data;
  if (area.radius < areaRadiusMMin) return unable('LOCATION_VERIFICATION.INVALID_AREA');
  if (options.covers?.(area.center) === false) return unable('LOCATION_VERIFICATION.AREA_NOT_COVERED');
  const at = phones.get(device.phoneNumber);
  if (at === undefined) return unable('LOCATION_VERIFICATION.UNABLE_TO_LOCATE');
  if (maxAge !== undefined && options.clock() - at.seenMs > maxAge * 1000)
    return unable('LOCATION_VERIFICATION.UNABLE_TO_FULFILL_MAX_AGE');
  return { ...verdict(at, area), lastLocationTime: new Date(at.seenMs).toISOString() };
}

const unable = (code: UnableCode): Refusal => ({ status: 422, code, message: 'The carrier cannot say.' });

async function jsonOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > requestBytesMax) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
