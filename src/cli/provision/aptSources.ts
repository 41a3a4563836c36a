/** Reads the machine's own Debian sources, in both of apt's forms, to derive the backports suite from them. Pure. */

export interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** `Signed-By`: a key file, or a key's text in deb822's folded form. */
  readonly signedBy?: string;
}

const fieldOf = (stanza: string, name: string): string | undefined => {
  const match = new RegExp(`^${name}:[ \\t]*(.*(?:\\n[ \\t].*)*)`, 'im').exec(stanza);
  return match?.[1]?.trimEnd();
};

const words = (text: string | undefined): string[] => text?.split(/\s+/).filter((word) => word !== '') ?? [];

function deb822Sources(text: string): AptSource[] {
  const plain = text.replace(/^#.*\n?/gm, '');
  return plain.split(/\n[ \t]*\n/).flatMap((stanza) => {
    const enabled = (fieldOf(stanza, 'Enabled') ?? 'yes').toLowerCase() !== 'no';
    if (!enabled || !words(fieldOf(stanza, 'Types')).includes('deb')) return [];
    return [
      {
        uris: words(fieldOf(stanza, 'URIs')),
        suites: words(fieldOf(stanza, 'Suites')),
        components: words(fieldOf(stanza, 'Components')),
        signedBy: fieldOf(stanza, 'Signed-By'),
      },
    ];
  });
}

function oneLineSources(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, options = '', uri = '', suite = '', components] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1];
    return [{ uris: [uri], suites: [suite], components: words(components), signedBy }];
  });
}

/** The binary package sources in files given as name → text. */
export const parseAptSources = (files: ReadonlyMap<string, string>): AptSource[] =>
  [...files].flatMap(([name, text]) =>
    name.endsWith('.sources') ? deb822Sources(text) : oneLineSources(text),
  );

/**
 * What to write as a `.sources` file for `<codename>-backports`: the mirror and key from which this machine gets `codename` itself.
 * Undefined when there is nothing to add: the suite is configured already, or no source of `codename` to derive it from.
 */
export function backportsSource(sources: readonly AptSource[], codename: string): string | undefined {
  const suite = `${codename}-backports`;
  const hasMain = (source: AptSource): boolean => source.components.includes('main');
  if (sources.some((source) => hasMain(source) && source.suites.includes(suite))) return undefined;
  const base = sources.find((source) => hasMain(source) && source.suites.includes(codename));
  if (base === undefined) return undefined;
  const lines = ['Types: deb', `URIs: ${base.uris.join(' ')}`, `Suites: ${suite}`, 'Components: main'];
  if (base.signedBy !== undefined) lines.push(`Signed-By: ${base.signedBy}`);
  return `${lines.join('\n')}\n`;
}
