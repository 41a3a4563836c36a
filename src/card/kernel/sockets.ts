/** Sockets in a VPC's namespace that this process owns: a helper opens them there and passes them here. */
import { type ChildProcess, spawn } from 'node:child_process';
import { Socket as DatagramSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { Server } from 'node:net';
import { join } from 'node:path';
import { metadataPort } from '../limits.ts';
import { namespacePath } from './paths.ts';

export interface VpcSockets {
  /** Listens on the metadata port. */
  readonly metadata: Server;
  /** Bound to the DHCP server port. */
  readonly dhcp: DatagramSocket;
}

const dhcpServerPort = 67;
const openTimeoutMs = 15_000;

/** The helper's program without its types: a process that strips them itself takes three times as long to be there. */
const helperProgram = (): string => {
  program ??= stripTypeScriptTypes(readFileSync(join(import.meta.dirname, 'socketHelper.ts'), 'utf8'));
  return program;
};
let program: string | undefined;

const startHelper = (namespace: string): ChildProcess =>
  spawn(
    'nsenter',
    [
      ...[
        `--net=${namespacePath(namespace)}`,
        process.execPath,
        '--input-type=module',
        '-e',
        helperProgram(),
      ],
      ...['--', String(metadataPort), String(dhcpServerPort)],
    ],
    { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
  );

export const openSockets = (namespace: string): Promise<VpcSockets> =>
  new Promise((resolve, reject) => {
    const helper = startHelper(namespace);
    let said = '';
    let metadata: Server | undefined;
    const timer = setTimeout(() => helper.kill('SIGKILL'), openTimeoutMs);
    helper.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-2000);
    });
    helper.on('message', (_message, handle) => {
      if (handle instanceof Server) metadata = handle;
      if (handle instanceof DatagramSocket && metadata !== undefined) {
        helper.send('thanks');
        resolve({ metadata, dhcp: handle });
      }
    });
    helper.once('error', reject);
    helper.once('exit', (code) => {
      clearTimeout(timer);
      // After `resolve` this changes nothing.
      reject(new Error(`sockets in ${namespace} were not opened (exit ${code}): ${said}`));
    });
  });
