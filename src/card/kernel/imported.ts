/** The flows that were let in by migrations and have not expired: kept when the firewall is exchanged. */
import { importedSet } from '../model/firewall.ts';
import { runInside } from './namespace.ts';

/** nft statements that add them again, each with the time that it had left. */
export const readImported = async (namespace: string): Promise<string[]> => {
  const text = await runInside(namespace, `nft list set ${importedSet} 2>/dev/null || true\n`);
  const elements = [
    ...text.matchAll(/(\S+ \. \S+ \. \S+ \. \S+ \. \S+) timeout \S+ expires (\S+?)(?:,| |$)/gm),
  ];
  return elements.map(([, flow, left = '']) => {
    // The kernel prints milliseconds, which nft does not take back as a timeout.
    const seconds = left.replace(/\d+ms$/, '') || '1s';
    return `add element ${importedSet} { ${flow} timeout ${seconds} }`;
  });
};
