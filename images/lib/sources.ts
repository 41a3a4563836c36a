import { run } from './run.ts';

const format = '$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(CREATED_BY)';

/**
 * The machine's own apt sources of one Debian suite with its updates and security, as one-line entries for
 * mmdebstrap. Throws when the machine's apt is not set up for that suite.
 */
export async function suiteSources(suite: string, signal?: AbortSignal): Promise<string> {
  const wanted = new Set([suite, `${suite}-updates`, `${suite}-security`]);
  const list = async (): Promise<string[]> => {
    const printed = await run('apt-get', ['indextargets', '--format', format], { signal });
    const entries = printed.split('\n').flatMap((line) => {
      const [origin, , uri, release = '', component, signedBy, createdBy] = line.split('|');
      if (origin !== 'Debian' || createdBy !== 'Packages' || !wanted.has(release)) return [];
      const option = signedBy === undefined || signedBy === '' ? '' : `[signed-by=${signedBy}] `;
      return [`deb ${option}${uri} ${release} ${component}`];
    });
    return [...new Set(entries)];
  };
  let entries = await list();
  if (entries.length === 0) {
    await run('apt-get', ['update', '-q'], { signal });
    entries = await list();
  }
  if (entries.length === 0)
    throw new Error(`this machine's apt has no sources for Debian ${suite}: add them and try again`);
  return `${entries.join('\n')}\n`;
}
