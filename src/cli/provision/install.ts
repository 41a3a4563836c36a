/** Installs what is missing, with the machine's own package manager and sources. */
import { writeFile } from 'node:fs/promises';
import { apt } from './apt.ts';
import { backportsSource, parseAptSources } from './aptSources.ts';
import { aptSourceFiles, distribution, findCommand, isPresent, qemuVersion } from './machine.ts';
import { qemuMajorMin, qemuPackages, runPackages, testPackages } from './packages.ts';

/** The apt source that Pando adds where the release's own QEMU is too old. */
export const backportsFile = '/etc/apt/sources.list.d/pando-backports.sources';
const updateTimeoutMs = 5 * 60_000;
const installTimeoutMs = 30 * 60_000;

export interface Missing {
  /** Names of packages to install from the distribution's own suites. */
  readonly packages: readonly string[];
  /** QEMU is absent or too old. */
  readonly qemu: boolean;
}

/** What is to be installed for running, or for running and testing. */
export async function findMissing(options: { readonly tests: boolean }): Promise<Missing> {
  const needed = options.tests ? [...runPackages, ...testPackages] : runPackages;
  const version = await qemuVersion();
  return {
    packages: needed.filter((each) => !isPresent(each)).map((each) => each.name),
    qemu:
      version === undefined || version.major < qemuMajorMin || qemuPackages.some((each) => !isPresent(each)),
  };
}

/**
 * Installs everything missing; nothing missing: changes nothing and asks nobody. Progress goes to `log`.
 * Throws with what to do when this is not root's or not a Debian-like machine.
 */
export async function installMissing(
  options: { readonly tests: boolean },
  log: (line: string) => void,
): Promise<boolean> {
  const missing = await findMissing(options);
  if (missing.packages.length === 0 && !missing.qemu) return false;
  const names = [...missing.packages, ...(missing.qemu ? qemuPackages.map((each) => each.name) : [])];
  if (process.getuid?.() !== 0)
    throw new Error(`Missing: ${names.join(' ')}. Run this command as root once, or install them.`);
  if (findCommand('apt-get') === undefined)
    throw new Error(
      `Missing: ${names.join(' ')}. This is not a Debian-like system: install their equivalents, then run again.`,
    );

  const suite = missing.qemu ? await enableBackports(log) : undefined;
  log('reading the package lists');
  await apt(['update'], { timeoutMs: updateTimeoutMs, log }).catch((error: unknown) => {
    log(
      `the package lists could not all be read (${error instanceof Error ? error.message.slice(0, 200) : error}); going on with those at hand`,
    );
  });
  if (missing.packages.length > 0) await installPackages(missing.packages, [], log);
  if (missing.qemu) {
    const target = suite === undefined ? [] : ['-t', suite];
    await installPackages(
      qemuPackages.map((each) => each.name),
      target,
      log,
    );
    await checkQemu();
  }
  return true;
}

async function installPackages(
  names: readonly string[],
  target: readonly string[],
  log: (line: string) => void,
): Promise<void> {
  log(`installing ${names.join(' ')}${target.length > 0 ? ` from ${target[1]}` : ''}`);
  await apt(['install', '-y', '--no-install-recommends', ...target, ...names], {
    timeoutMs: installTimeoutMs,
    log,
  });
}

/** Adds the backports suite where the release's own QEMU is too old, and answers the suite to install QEMU from. */
async function enableBackports(log: (line: string) => void): Promise<string | undefined> {
  const { id, codename } = distribution();
  if (id !== 'debian' || codename !== 'bookworm') return undefined;
  const suite = `${codename}-backports`;
  const sources = parseAptSources(aptSourceFiles());
  const addition = backportsSource(sources, codename);
  if (addition !== undefined) {
    log(
      `adding the suite ${suite} (QEMU ${qemuMajorMin} or newer), from the mirror that this machine uses: ${backportsFile}`,
    );
    await writeFile(backportsFile, addition, { mode: 0o644 });
    return suite;
  }
  if (sources.some((source) => source.suites.includes(suite))) return suite;
  throw new Error(
    `apt has no source of Debian ${codename} to derive ${suite} from. Add ${suite} to /etc/apt/sources.list, then run again.`,
  );
}

async function checkQemu(): Promise<void> {
  const version = await qemuVersion();
  if (version !== undefined && version.major >= qemuMajorMin) return;
  throw new Error(
    `QEMU ${qemuMajorMin} or newer is needed; this machine's packages give ${version?.text ?? 'none'}. Install a newer one, then run again.`,
  );
}
