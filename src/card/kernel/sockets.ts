/** Sockets in a VPC's namespace that this process owns: a helper opens them there and passes them here. */
import { fork } from 'node:child_process';
import { Socket as DatagramSocket } from 'node:dgram';
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

export const openSockets = (namespace: string): Promise<VpcSockets> =>
  new Promise((resolve, reject) => {
    const helper = fork(
      join(import.meta.dirname, 'socketHelper.ts'),
      [String(metadataPort), String(dhcpServerPort)],
      {
        execPath: 'nsenter',
        execArgv: [`--net=${namespacePath(namespace)}`, process.execPath],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      },
    );
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
