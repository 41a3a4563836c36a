// XML 1.0 has no way to write these, not even as a character reference: one would make the whole document
// unreadable for the client.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const unwritable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const special = /[\u0000-\u0008\u000b-\u001f&<>"'\ud800-\udfff\ufffe\uffff]/;

/**
 * Text as the content of an XML element. What XML cannot carry becomes U+FFFD; a carriage return becomes a
 * reference, because a parser would read a bare one as a line feed.
 */
export function escapeXml(text: string): string {
  if (!special.test(text)) return text;
  return text
    .toWellFormed()
    .replaceAll(unwritable, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
    .replaceAll('\r', '&#xD;');
}

/** `<name>text</name>`, with the text escaped. */
export function textElement(name: string, text: string): string {
  return `<${name}>${escapeXml(text)}</${name}>`;
}

/** The first line of every document. */
export const xmlDeclaration = '<?xml version="1.0" encoding="UTF-8"?>\n';
