/** Answers as XML. */
import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isErrorCode, PandoError } from '#contracts/errors.ts';
import { encodeResponseParts } from '#wire/encode.ts';
import { encodeError, publicError } from '#wire/encodeError.ts';
import type { Service } from '#wire/schema.ts';
import type { KnownAction } from '#wire/types.ts';
import { textElement } from '#wire/xml.ts';
import type { Answer } from '../request.ts';

const xml = 'text/xml;charset=UTF-8';

/** The answer as text, made in slices of about a millisecond so that a long page delays nobody else. */
export const encodeAnswer = async (
  action: KnownAction,
  answer: Answer,
  requestId: string,
  version: string,
): Promise<string> => {
  let text = '';
  let slices = 0;
  for (const part of encodeResponseParts(action, answer.output, requestId, version)) {
    text += part;
    slices += 1;
    // The first part ends inside the root element, where one more element is welcome.
    if (slices === 1) text += unreachableElement(answer.unreachable ?? []);
    if (slices % slicesPerTurn === 0) await nextTurn();
  }
  return text;
};

const slicesPerTurn = 16;

/** Cells whose share is missing (S3.10): said in the document too, because many clients hide headers. */
const unreachableElement = (cells: readonly string[]): string =>
  cells.length === 0
    ? ''
    : `<unreachableCellSet>${cells.map((cell) => textElement('item', cell)).join('')}</unreachableCellSet>`;

/** Sends a whole document. */
export const sendXml = (
  response: ServerResponse,
  status: number,
  requestId: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void => {
  response.writeHead(status, {
    ...headers,
    'content-type': xml,
    'content-length': Buffer.byteLength(body),
    'x-amzn-requestid': requestId,
    'cache-control': 'no-cache, no-store',
    server: 'Pando',
  });
  // As text it goes in one piece with the headers.
  response.end(body);
};

/** The error as a client may see it. A code that the catalogue has not, from a newer backend, is an inner error. */
export const shownError = (thrown: unknown): PandoError => {
  const error = PandoError.from(thrown);
  return isErrorCode(error.code)
    ? publicError(error)
    : PandoError.from(new Error(error.code, { cause: error }));
};

export const sendError = (
  response: ServerResponse,
  error: PandoError,
  requestId: string,
  service: Service,
  headers: Readonly<Record<string, string>> = {},
): void => sendXml(response, error.status, requestId, encodeError(error, requestId, service), headers);
