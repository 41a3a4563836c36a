/** Versions of the card's program on this machine: directories named by the digest of what is in them. */
import { join } from 'node:path';
import { codeDigestOf } from '#base/codeDigest.ts';
import { PandoError } from '#contracts/errors.ts';
import { programVersion } from './record.ts';

/** The machine's own program: this very code. */
const ownTree = join(import.meta.dirname, '../../..');

const own: { version?: string } = {};
/** Of the tree that this file lies in. */
export const versionOfThisTree = (): string => {
  own.version ??= codeDigestOf('card', ownTree);
  return own.version;
};

/** Where a version lies. @throws InvalidParameterValue: it is not here, or what is there is something else */
export const treeOf = (version: string, programsDir: string | undefined): string => {
  if (!programVersion.safeParse(version).success)
    throw new PandoError(
      'InvalidParameterValue',
      `${JSON.stringify(version.slice(0, 80))} is no version of the card's program: those are 16 hex digits.`,
    );
  if (programsDir === undefined) throw notHere(version);
  const tree = join(programsDir, version);
  const found = digestOf(tree);
  if (found === undefined) throw notHere(version);
  if (found !== version)
    throw new PandoError('InvalidParameterValue', `What is kept here as program ${version} is ${found}.`);
  return tree;
};

const digestOf = (tree: string): string | undefined => {
  try {
    return codeDigestOf('card', tree);
  } catch {
    return undefined;
  }
};

const notHere = (version: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    `Program ${version} is not on this host: pando program add keeps a version.`,
  );
