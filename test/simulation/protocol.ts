/** As much of PostgreSQL's protocol (version 3) as a server needs that has sessions take turns at one engine. */

export const messageOf = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

const text = (value: string): Buffer => Buffer.from(`${value}\0`);

const authenticated = messageOf('R', Buffer.alloc(4));
const parameters = {
  server_version: '18.6',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
};

export const readyFor = (status: 'I' | 'T' | 'E'): Buffer => messageOf('Z', Buffer.from(status));

/** What a client is told that has begun a session. */
export const welcome = Buffer.concat([
  authenticated,
  ...Object.entries(parameters).map(([name, value]) =>
    messageOf('S', Buffer.concat([text(name), text(value)])),
  ),
  messageOf('K', Buffer.alloc(8)),
  readyFor('I'),
]);

const parseCompleteType = 0x31;
export const parseComplete = messageOf('1', Buffer.alloc(0));
export const queryOf = (sql: string): Buffer => messageOf('Q', text(sql));

/** Runs a prepared statement without parameters; prepares it first where its text is given. */
export const preparedQueryOf = (name: string, sql: string | undefined): Buffer =>
  Buffer.concat([
    ...(sql === undefined ? [] : [messageOf('P', Buffer.concat([text(name), text(sql), Buffer.alloc(2)]))]),
    messageOf('B', Buffer.concat([text(''), text(name), Buffer.alloc(6)])),
    messageOf('E', Buffer.concat([text(''), Buffer.alloc(4)])),
    messageOf('S', Buffer.alloc(0)),
  ]);

export const errorOf = (severity: 'ERROR' | 'FATAL', code: string, message: string): Buffer =>
  messageOf(
    'E',
    Buffer.concat([
      text(`S${severity}`),
      text(`V${severity}`),
      text(`C${code}`),
      text(`M${message}`),
      Buffer.alloc(1),
    ]),
  );

export interface Message {
  readonly type: string;
  /** With its head. */
  readonly whole: Buffer;
}

/** Cuts what clients send into messages; the first one of a session has no type. */
export class MessageReader {
  #bytes: Buffer = Buffer.alloc(0);
  #started = false;

  *push(chunk: Buffer): Generator<Message> {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const head = this.#started ? 1 : 0;
      if (this.#bytes.length < head + 4) return;
      const length = head + this.#bytes.readInt32BE(head);
      if (this.#bytes.length < length) return;
      const whole = this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
      const type = this.#started ? String.fromCharCode(whole[0] ?? 0) : 'startup';
      this.#started = true;
      yield { type, whole };
    }
  }
}

/** The texts that end in zero at the beginning of a message's body. */
export const textsOf = ({ whole }: Message, count: number): string[] => {
  const texts: string[] = [];
  let from = 5;
  for (let n = 0; n < count; n++) {
    const end = whole.indexOf(0, from);
    texts.push(whole.toString('utf8', from, end));
    from = end + 1;
  }
  return texts;
};

/** A message whose body begins with two texts, in pieces with these in their place: a Parse (name, statement), a Bind (portal, name). */
export const withTexts = ({ whole, type }: Message, first: string, second: string): [Buffer, Buffer] => {
  const rest = whole.subarray(whole.indexOf(0, whole.indexOf(0, 5) + 1) + 1);
  const given = `${first}\0${second}\0`;
  const bytes = Buffer.byteLength(given);
  const head = Buffer.allocUnsafe(5 + bytes);
  head.write(type, 'latin1');
  head.writeInt32BE(bytes + rest.length + 4, 1);
  head.write(given, 5);
  return [head, rest];
};

/** What an engine answered: its rows as texts, whether it failed, and whether a transaction is open now. */
export interface Answer {
  readonly rows: readonly (string | null)[][];
  readonly error: string | undefined;
  readonly status: string;
  /** How many answers to Parse are in it. */
  readonly parsed: number;
}

const errorType = 0x45;
const readyType = 0x5a;
const rowType = 0x44;

export const answerIn = (reply: Uint8Array, withRows = false): Answer => {
  const bytes = asBuffer(reply);
  const rows: (string | null)[][] = [];
  let error: string | undefined;
  let status = 'I';
  let parsed = 0;
  for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    const type = bytes[at];
    if (type === rowType) {
      if (withRows) rows.push(rowAt(bytes, at + 5));
    } else if (type === parseCompleteType) parsed++;
    else if (type === readyType) status = String.fromCharCode(bytes[at + 5] ?? 0);
    else if (type === errorType)
      error = bytes.toString('utf8', at + 5, at + 1 + bytes.readInt32BE(at + 1)).replaceAll('\0', ' ');
  }
  return { rows, error, status, parsed };
};

const asBuffer = (reply: Uint8Array): Buffer => Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength);

/** A reply without its answers to Parse, of which there are so many. */
export const withoutParseComplete = (reply: Uint8Array, parsed: number): Uint8Array => {
  if (parsed === 0) return reply;
  const bytes = asBuffer(reply);
  const rest: Buffer[] = [];
  let from = 0;
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    if (bytes[at] === parseCompleteType) {
      if (from < at) rest.push(bytes.subarray(from, at));
      from = end;
    }
    at = end;
  }
  rest.push(bytes.subarray(from));
  return Buffer.concat(rest);
};

const rowAt = (bytes: Buffer, from: number): (string | null)[] => {
  const columns = bytes.readInt16BE(from);
  let at = from + 2;
  return Array.from({ length: columns }, () => {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) return null;
    at += length;
    return bytes.toString('utf8', at - length, at);
  });
};
