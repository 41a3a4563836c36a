/** Certificates of the simulated processes, made before time is virtual: who an end is, is read from them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsMaterial } from '#base/identity.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { identityText } from '#contracts/identity.ts';
import { cellName, hostIdOf, numbers, processorName, routerName, type Shape } from './shape.ts';

export interface Certificates {
  readonly region: { readonly ca: string; readonly cert: string; readonly key: string };
  of(role: string, name: string, cell?: string): TlsMaterial;
}

export const issueAll = async (shape: Shape, directory: string): Promise<Certificates> => {
  const authority = await createAuthority('pando-simulation');
  const made = new Map<string, TlsMaterial>();
  const issue = async (identity: string): Promise<TlsMaterial> => {
    const material = await issueCertificate(authority, identity);
    made.set(identity, material);
    return material;
  };
  const { ca, cert, key } = await issue(identityText('region', 'region', undefined));
  await issue(identityText('operator', 'operator', undefined));
  for (const number of numbers(shape.routers))
    await issue(identityText('router', routerName(number), undefined));
  for (const cell of numbers(shape.cells)) {
    for (const number of numbers(shape.processorsPerCell))
      await issue(identityText('cell', processorName(cell, number), cellName(cell)));
    for (const number of numbers(shape.hostsPerCell))
      await issue(identityText('agent', hostIdOf(cell, number), cellName(cell)));
  }
  mkdirSync(directory, { recursive: true });
  const files = {
    ca: join(directory, 'ca.pem'),
    cert: join(directory, 'region.pem'),
    key: join(directory, 'region.key'),
  };
  writeFileSync(files.ca, ca);
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key, { mode: 0o600 });
  return {
    region: files,
    of: (role, name, cell) => {
      const material = made.get(identityText(role, name, cell));
      if (material === undefined) throw new Error(`no certificate for ${role} ${name}`);
      return material;
    },
  };
};
