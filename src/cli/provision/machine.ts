/** What this machine is and has. Looks, changes nothing. */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import type { NeededPackage } from './packages.ts';

const sbin = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Finds a command on PATH or where administrators' commands lie. */
export function findCommand(name: string): string | undefined {
  const places = [...(process.env.PATH ?? '').split(':'), '/usr/local/bin', '/usr/bin', '/bin', ...sbin];
  return places
    .filter((place) => place !== '')
    .map((place) => join(place, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export const isPresent = (needed: NeededPackage): boolean =>
  needed.proof.startsWith('/') ? existsSync(needed.proof) : findCommand(needed.proof) !== undefined;

export interface Distribution {
  readonly id: string;
  readonly codename: string;
  readonly pretty: string;
}

/** From /etc/os-release. */
export function distribution(text = readFileSync('/etc/os-release', 'utf8')): Distribution {
  const value = (key: string): string => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return {
    id: value('ID'),
    codename: value('VERSION_CODENAME'),
    pretty: value('PRETTY_NAME') || 'unknown Linux',
  };
}

/** QEMU's version as it prints it, `major` first; undefined when there is none. */
export async function qemuVersion(): Promise<{ major: number; text: string } | undefined> {
  const path = findCommand('qemu-system-x86_64');
  if (path === undefined) return undefined;
  const { stdout } = await exec(path, ['--version']).catch(() => ({ stdout: '' }));
  const match = /version (\d+)(\S*)/.exec(stdout);
  return match === null ? undefined : { major: Number(match[1]), text: `${match[1]}${match[2]}` };
}

/** Apt's source files, name → text. */
export function aptSourceFiles(directory = '/etc/apt'): Map<string, string> {
  const parts = join(directory, 'sources.list.d');
  const names = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  const files = [join(directory, 'sources.list'), ...names].filter(
    (path) => (path.endsWith('.list') || path.endsWith('.sources')) && existsSync(path),
  );
  return new Map(files.map((path) => [path, readFileSync(path, 'utf8')]));
}
