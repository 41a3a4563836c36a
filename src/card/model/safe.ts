/** Guards the batches: a value of the declared state becomes a word of a command only if it cannot be more than a word. */
import { PandoError } from '#contracts/errors.ts';

/** The text itself, if it is one plain word; otherwise InvalidParameterValue. */
export const word = (text: string): string => {
  if (/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$/.test(text)) return text;
  throw new PandoError('InvalidParameterValue', `Not a plain word: ${JSON.stringify(text.slice(0, 80))}`);
};
