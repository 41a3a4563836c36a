/** DHCP messages (RFC 2131) as bytes: what is needed of them, parsed with every length checked. */

export const dhcpMessageType = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

export interface DhcpRequest {
  readonly type: number;
  readonly xid: number;
  readonly flags: number;
  readonly secs: number;
  /** Client's own address, when it has one already. */
  readonly ciaddr: string;
  readonly mac: string;
  readonly requestedIp: string | undefined;
  readonly serverId: string | undefined;
}

const headerBytes = 236;
const magicCookie = 0x63825363;
const bootRequest = 1;
const bootReply = 2;
const minimumBytes = 300;
const optionEnd = 255;

const ipAt = (bytes: Buffer, at: number): string => [...bytes.subarray(at, at + 4)].join('.');
export const ipBytes = (ip: string): Buffer => Buffer.from(ip.split('.').map(Number));

/** The request in a datagram; undefined: not one of Ethernet, or malformed. */
export const parseDhcp = (bytes: Buffer): DhcpRequest | undefined => {
  if (bytes.length < headerBytes + 4 || bytes[0] !== bootRequest || bytes[1] !== 1 || bytes[2] !== 6)
    return undefined;
  if (bytes.readUInt32BE(headerBytes) !== magicCookie) return undefined;
  const options = parseOptions(bytes.subarray(headerBytes + 4));
  const type = options.get(53)?.[0];
  if (type === undefined) return undefined;
  return {
    type,
    xid: bytes.readUInt32BE(4),
    secs: bytes.readUInt16BE(8),
    flags: bytes.readUInt16BE(10),
    ciaddr: ipAt(bytes, 12),
    mac: [...bytes.subarray(28, 34)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    requestedIp: ipOption(options.get(50)),
    serverId: ipOption(options.get(54)),
  };
};

const ipOption = (value: Buffer | undefined): string | undefined =>
  value?.length === 4 ? ipAt(value, 0) : undefined;

const parseOptions = (bytes: Buffer): Map<number, Buffer> => {
  const options = new Map<number, Buffer>();
  let at = 0;
  while (at < bytes.length) {
    const code = bytes[at];
    if (code === undefined || code === optionEnd) break;
    if (code === 0) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    options.set(code, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
};

/** A reply to `request` that gives `yourIp` (`0.0.0.0`: none) with these options, in their order. */
export const writeDhcpReply = (
  request: DhcpRequest,
  yourIp: string,
  serverIp: string,
  options: readonly (readonly [number, Buffer])[],
): Buffer => {
  const header = Buffer.alloc(headerBytes + 4);
  header.set([bootReply, 1, 6, 0]);
  header.writeUInt32BE(request.xid, 4);
  header.writeUInt16BE(request.flags, 10);
  header.set(ipBytes(request.ciaddr), 12);
  header.set(ipBytes(yourIp), 16);
  header.set(ipBytes(serverIp), 20);
  header.set(Buffer.from(request.mac.replaceAll(':', ''), 'hex'), 28);
  header.writeUInt32BE(magicCookie, headerBytes);
  const body = Buffer.concat([
    header,
    ...options.flatMap(([code, value]) => [Buffer.from([code, value.length]), value]),
    Buffer.from([optionEnd]),
  ]);
  return body.length >= minimumBytes ? body : Buffer.concat([body, Buffer.alloc(minimumBytes - body.length)]);
};
