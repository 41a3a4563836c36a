/** Whether a process is ready to serve. */
import { readFileSync } from 'node:fs';
import { loadTls } from '#base/config.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { backendContract } from '#contracts/backend.ts';
import type { TlsPaths } from './pkiFiles.ts';
import type { ProcessSpec } from './processSpec.ts';

/** Answers whether the process of this specification, with this pid, is ready. Never throws. */
export type Readiness = (spec: ProcessSpec, pid: number) => Promise<boolean>;

const healthTimeoutMs = 2_000;
const healthContract = { 'process.health': backendContract['process.health'] };
const listenState = '0A';

/** Whether some socket listens on `port` in the network namespace of `pid`. */
export function isListening(pid: number, port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].some((table) => {
    try {
      const rows = readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1);
      return rows.some((row) => {
        const [, local, , state] = row.trim().split(/\s+/);
        return state === listenState && local?.endsWith(wanted);
      });
    } catch {
      return false;
    }
  });
}

async function isHealthy(files: TlsPaths, host: string, port: number, identity: string): Promise<boolean> {
  let client: RpcClient<Record<never, never>, typeof healthContract> | undefined;
  try {
    const tls = loadTls(files);
    client = new RpcClient({
      tls,
      host,
      port,
      expect: identity,
      remote: healthContract,
      contract: {},
      handlers: {},
    });
    await client.ready(healthTimeoutMs);
    return (await client.call('process.health', {}, { timeoutMs: healthTimeoutMs })).ready;
  } catch {
    return false;
  } finally {
    client?.close();
  }
}

/** Readiness as each specification asks for it; `files` hold the identity with which health is asked. */
export const checkReadiness =
  (files: TlsPaths): Readiness =>
  async (spec, pid) => {
    if (spec.kind === 'postgres') return true;
    const { ready } = spec;
    switch (ready.kind) {
      case 'alive':
        return true;
      case 'listening':
        return isListening(pid, ready.port);
      case 'health':
        return (
          isListening(pid, ready.port) && (await isHealthy(files, ready.host, ready.port, ready.identity))
        );
    }
  };
