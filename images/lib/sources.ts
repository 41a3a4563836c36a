import { access } from 'node:fs/promises';
import { run } from './run.ts';

const format = ['ORIGIN', 'REPO_URI', 'RELEASE', 'COMPONENT', 'CREATED_BY']
  .map((field) => `$(${field})`)
  .join('|');
/** Debian's own keys, where their package puts them: a sources file can be signed by nothing else. */
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The machine's own apt sources of one Debian suite with its updates and security, as one-line entries for
 * mmdebstrap. Throws when the machine's apt is not set up for that suite.
 */
export async function suiteSources(suite: string, signal?: AbortSignal): Promise<string> {
  let entries = await suiteEntries(suite, signal);
  if (entries.length === 0) {
    await run('apt-get', ['update', '-q'], { signal });
    entries = await suiteEntries(suite, signal);
  }
  if (entries.length === 0) {
    throw new Error(`this machine's apt has no sources for Debian ${suite}: add them and try again`);
  }
  return `${entries.join('\n')}\n`;
}

async function suiteEntries(suite: string, signal?: AbortSignal): Promise<string[]> {
  const wanted = new Set([suite, `${suite}-updates`, `${suite}-security`]);
  const printed = await run('apt-get', ['indextargets', '--format', format], { signal });
  const option = await access(keyring).then(
    () => `[signed-by=${keyring}] `,
    () => '',
  );
  const entries = printed.split('\n').flatMap((line) => {
    const [origin, uri, release = '', component, createdBy] = line.split('|');
    if (origin !== 'Debian' || createdBy !== 'Packages' || !wanted.has(release)) return [];
    return [`deb ${option}${uri} ${release} ${component}`];
  });
  return [...new Set(entries)];
}
