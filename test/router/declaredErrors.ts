/** Server errors that EC2 itself declares for requests that are right: there is no room, or too much is asked at once. */
import { errorCatalogue } from '#contracts/errorCatalogue.ts';

const noRoom = Object.keys(errorCatalogue).filter((code) => /^Insufficient\w*Capacity$/.test(code));

export const declared: ReadonlySet<string> = new Set([...noRoom, 'RequestLimitExceeded']);
