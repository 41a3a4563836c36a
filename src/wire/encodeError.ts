import { isInternalCode, PandoError } from '#contracts/errors.ts';
import { type Service, schemaSource } from './schema.ts';
import { textElement, xmlDeclaration } from './xml.ts';

/** What clients send is bounded before: only an answer can be. */
const tooLargeMessage =
  'The answer to this request is too large to be given at once. Ask for less, by ids, filters or MaxResults.';

/**
 * The error that a client may see: codes between Pando's own parts become `Unavailable`, if a repeated call
 * may succeed, or `InternalError`. Its `status` is the HTTP status to answer with.
 */
export function publicError(error: PandoError): PandoError {
  if (!isInternalCode(error.code)) return error;
  if (error.code === 'MessageTooLarge')
    return new PandoError('InvalidParameterValue', tooLargeMessage, { cause: error });
  if (!error.retryable) return PandoError.from(new Error(error.code, { cause: error }));
  return new PandoError('Unavailable', 'The service is unavailable for a moment. Retry your request.', {
    cause: error,
  });
}

/** An error as XML, in the service's own format. Details follow the message; clients that know none skip them. */
export function encodeError(error: PandoError, requestId: string, service: Service = 'ec2'): string {
  const shown = publicError(error);
  const body = textElement('Code', shown.code) + textElement('Message', shown.message) + details(shown);
  if (service === 'ec2') {
    return `${xmlDeclaration}<Response><Errors><Error>${body}</Error></Errors>${textElement('RequestID', requestId)}</Response>`;
  }
  const { xmlns, version } = schemaSource(service);
  const type = shown.status < 500 ? 'Sender' : 'Receiver';
  const head = `${xmlDeclaration}<ErrorResponse xmlns="${xmlns}${version}/">`;
  return `${head}<Error><Type>${type}</Type>${body}</Error>${textElement('RequestId', requestId)}</ErrorResponse>`;
}

function details(error: PandoError): string {
  const entries = Object.entries(error.details ?? {});
  if (entries.length === 0) return '';
  const list = entries.map(
    ([key, value]) => `<item>${textElement('Key', key)}${textElement('Value', value)}</item>`,
  );
  return `<Details>${list.join('')}</Details>`;
}
