/**
 * Who a process is: `spiffe://pando/<role>/<cell>/<name>`, with `-` for the cell of what belongs to none. The last release had no cell:
 * `spiffe://pando/<role>/<name>`. That form is understood for one release more, and issued no longer. It says no more than it did: a
 * processor's cell is the first part of its name (`cell-a-1` is of `cell-a`), which nobody else was ever issued.
 */

export const roles = ['router', 'region', 'cell', 'agent', 'card', 'gateway', 'operator'] as const;
export type Role = (typeof roles)[number];

export interface Identity {
  readonly role: string;
  /** undefined: of no cell, or (in the former form) not told. */
  readonly cell: string | undefined;
  readonly name: string;
  /** Whether it is of the form of the last release. */
  readonly former: boolean;
}

const noCell = '-';

/** undefined: it is no identity of Pando's. */
export const parseIdentity = (text: string): Identity | undefined => {
  const now = /^spiffe:\/\/pando\/([a-z]+)\/([A-Za-z0-9._-]+)\/([A-Za-z0-9._-]+)$/.exec(text);
  if (now?.[1] && now[2] && now[3])
    return { role: now[1], cell: now[2] === noCell ? undefined : now[2], name: now[3], former: false };
  const before = /^spiffe:\/\/pando\/([a-z]+)\/([A-Za-z0-9._-]+)$/.exec(text);
  if (!before?.[1] || !before[2]) return undefined;
  const [, role, name] = before;
  return { role, cell: role === 'cell' ? cellInName(name) : undefined, name, former: true };
};

const cellInName = (name: string): string | undefined => {
  const at = name.lastIndexOf('-');
  return at > 0 && at < name.length - 1 ? name.slice(0, at) : undefined;
};

export const identityText = (role: string, name: string, cell: string | undefined): string =>
  `spiffe://pando/${role}/${cell ?? noCell}/${name}`;

/** The form of the last release. */
export const formerText = (role: string, name: string): string => `spiffe://pando/${role}/${name}`;

/** Whether a peer that presents `presented` is the one `expected`: that identity, or one below a prefix that ends in `/`. */
export const isExpected = (expected: string, presented: string): boolean => {
  if (expected === presented) return true;
  const peer = parseIdentity(presented);
  if (peer === undefined) return false;
  if (expected.endsWith('/'))
    return [presented, identityText(peer.role, peer.name, peer.cell)].some((text) =>
      text.startsWith(expected),
    );
  const wanted = parseIdentity(expected);
  // One of the two was made by the last release: names are unique among those of a role.
  return (
    wanted !== undefined &&
    (wanted.former || peer.former) &&
    wanted.role === peer.role &&
    wanted.name === peer.name
  );
};
