/** Renews a run's certificates for as long as its supervisor lives. */
import { certificateLifetimeMsDefault } from '#base/pki.ts';
import { PkiFiles } from './pkiFiles.ts';

/** Often enough that a failed attempt (a full disk) is repeated many times before anything ends. */
const looksPerLife = 200;

export interface Renewal {
  stop(): void;
}

/**
 * Looks at once, then again and again. What fails is said and tried again: processes go on with the certificates that they
 * have until those end.
 */
export function keepRenewed(
  directory: string,
  log: (line: string) => void,
  lifetimeMs = certificateLifetimeMsDefault,
): Renewal {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const look = async (): Promise<void> => {
    try {
      const renewed = await (await PkiFiles.open(directory, 'pando', lifetimeMs)).renew();
      if (renewed.length > 0) log(`renewed the certificates of ${renewed.join(' ')}`);
    } catch (error) {
      log(`certificates could not be renewed: ${error instanceof Error ? error.message : error}`);
    }
    if (!stopped) timer = setTimeout(() => void look(), lifetimeMs / looksPerLife);
  };
  void look();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
