/** What a card's own guest measures: datagrams, a stream of full-size segments, metadata. Bounded in time by its caller's patience. */
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { datagramsPerProbe } from '#base/network/probe.ts';
import type { ProbeMeasurement } from '#contracts/card-probe.ts';
import { metadataAddress } from '../limits.ts';

/** Of both the datagrams and the streams. */
export const probeUdpTcpPort = 4_100;
/** Small, as a ping's: an MTU that is too small lets them pass. */
const datagramBytes = 56;
const datagramEveryMs = 5;
/** Some 90 full segments each way: more than the first window, so that full ones are really sent. */
const streamBytes = 128 * 1024;

export interface GuestRequest {
  readonly targets: readonly string[];
  readonly overlay: boolean;
  readonly tcp: boolean;
  readonly metadata: boolean;
  readonly timeoutMs: number;
}

type Peer = ProbeMeasurement['peers'][number];
type Attempt = NonNullable<Peer['tcp']>;

export const measure = async ({
  targets,
  overlay,
  tcp,
  metadata,
  timeoutMs,
}: GuestRequest): Promise<ProbeMeasurement> => {
  const [peers, answered] = await Promise.all([
    Promise.all(
      targets.map(async (ip): Promise<Peer> => {
        const [datagrams, stream] = await Promise.all([
          overlay ? ping(ip, timeoutMs) : { sent: 0, received: 0 },
          tcp ? streamed(ip, timeoutMs) : undefined,
        ]);
        return { ip, ...datagrams, ...(stream !== undefined && { tcp: stream }) };
      }),
    ),
    metadata ? asked(timeoutMs) : undefined,
  ]);
  return { peers, ...(answered !== undefined && { metadata: answered }) };
};

const ping = async (ip: string, timeoutMs: number): Promise<Omit<Peer, 'ip' | 'tcp'>> => {
  const socket = createSocket('udp4');
  const sentMs = new Map<number, number>();
  const latencies: number[] = [];
  let all: (() => void) | undefined;
  socket.on('error', () => undefined);
  socket.on('message', (message) => {
    const at = message.readUInt32BE(0);
    const began = sentMs.get(at);
    sentMs.delete(at);
    if (began !== undefined) latencies.push(monotonicMs() - began);
    if (latencies.length === datagramsPerProbe) all?.();
  });
  for (let at = 0; at < datagramsPerProbe; at += 1) {
    const datagram = Buffer.alloc(datagramBytes);
    datagram.writeUInt32BE(at);
    sentMs.set(at, monotonicMs());
    socket.send(datagram, probeUdpTcpPort, ip);
    await delay(datagramEveryMs);
  }
  if (latencies.length < datagramsPerProbe) {
    const over = new AbortController();
    const complete = new Promise<void>((resolve) => {
      all = resolve;
    });
    await Promise.race([
      delay(timeoutMs, undefined, { signal: over.signal }).catch(() => undefined),
      complete,
    ]);
    over.abort();
  }
  socket.close();
  const median = latencies.sort((a, b) => a - b)[latencies.length >> 1];
  return {
    ...{ sent: datagramsPerProbe, received: latencies.length },
    ...(median !== undefined && { latencyMs: median }),
  };
};

/** What came of work that must be over in time. `end` ends it. */
const attempted = (
  timeoutMs: number,
  begin: (done: (detail?: string) => void) => () => void,
): Promise<Attempt> => {
  const began = monotonicMs();
  return new Promise((resolve) => {
    const finish = (detail?: string): void => {
      clearTimeout(timer);
      resolve({
        ok: detail === undefined,
        ms: monotonicMs() - began,
        ...(detail !== undefined && { detail }),
      });
      end();
    };
    const timer = setTimeout(() => finish(`not done after ${timeoutMs} ms`), timeoutMs);
    const end = begin(finish);
  });
};

/** There and back: full segments in both directions. */
const streamed = (ip: string, timeoutMs: number): Promise<Attempt> =>
  attempted(timeoutMs, (done) => {
    let received = 0;
    const socket = connect(probeUdpTcpPort, ip, () => socket.write(Buffer.alloc(streamBytes, 0x70)));
    socket.on('error', ({ message }) => done(message.slice(0, 200)));
    socket.on('data', ({ length }) => {
      received += length;
      if (received >= streamBytes) done();
    });
    return () => socket.destroy();
  });

const asked = (timeoutMs: number): Promise<Attempt> =>
  attempted(timeoutMs, (done) => {
    const request = get(`http://${metadataAddress}/latest/meta-data/instance-id`, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) done();
        else done(`HTTP ${response.statusCode}`);
      });
    });
    request.on('error', ({ message }) => done(message.slice(0, 200)));
    return () => request.destroy();
  });
