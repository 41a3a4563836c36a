/** Answers of the APIs that speak JSON. */
import type { ServerResponse } from 'node:http';

/** @param text the JSON */
export const sendJson = (
  response: ServerResponse,
  status: number,
  requestId: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void => {
  const bytes = Buffer.from(text);
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': bytes.length,
    'x-amzn-requestid': requestId,
    'cache-control': 'no-store',
    server: 'Pando',
  });
  response.end(bytes);
};
