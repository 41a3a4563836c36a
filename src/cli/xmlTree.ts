/** Reads the XML that EC2 answers into a tree, as far as the command line needs it: elements and text, no attributes. */

export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  readonly text: string;
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

const unescaped = (text: string): string =>
  text.replace(
    /&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
      return entities[name ?? ''] ?? whole;
    },
  );

/** Parses a document and returns its root element. Throws when tags do not match. */
export function parseXml(document: string): XmlElement {
  interface Open {
    name: string;
    children: XmlElement[];
    text: string;
  }
  const top: Open = { name: '', children: [], text: '' };
  const stack: Open[] = [top];
  for (const [, tag = '', text = ''] of document.matchAll(/<([^>]+)>|([^<]+)/g)) {
    const current = stack.at(-1) ?? top;
    if (tag === '') current.text += unescaped(text);
    else if (tag.startsWith('?') || tag.startsWith('!')) continue;
    else if (tag.startsWith('/')) {
      const closed = stack.pop();
      if (closed === undefined || closed.name !== tag.slice(1).trim())
        throw new Error(`</${tag.slice(1)}> closes nothing`);
      (stack.at(-1) ?? top).children.push(closed);
    } else {
      const opened: Open = { name: tag.split(/[\s/]/)[0] ?? '', children: [], text: '' };
      if (tag.endsWith('/')) current.children.push(opened);
      else stack.push(opened);
    }
  }
  const root = top.children[0];
  if (stack.length !== 1 || root === undefined) throw new Error('the document ends too early');
  return root;
}

/** Descends by names; undefined where there is none. */
export const at = (element: XmlElement, ...names: string[]): XmlElement | undefined =>
  names.reduce<XmlElement | undefined>(
    (here, name) => here?.children.find((child) => child.name === name),
    element,
  );

/** Text at the end of the names, or an empty string. */
export const textAt = (element: XmlElement, ...names: string[]): string =>
  at(element, ...names)?.text.trim() ?? '';

/** The `item` elements of the list at the end of the names. */
export const itemsAt = (element: XmlElement, ...names: string[]): XmlElement[] =>
  at(element, ...names)?.children.filter((child) => child.name === 'item') ?? [];
