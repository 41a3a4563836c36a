/** Payment codes, `pando-pay:1:<askId>:<token>`. */

/** Its parts; undefined for any other text. */
export function codeParts(text: string): { readonly askId: string; readonly token: string } | undefined {
  const match = /^pando-pay:1:(ask_[0-9a-z]{26}):([A-Za-z0-9_-]{1,64})$/.exec(text.trim());
  const [, askId, token] = match ?? [];
  return askId === undefined || token === undefined ? undefined : { askId, token };
}
