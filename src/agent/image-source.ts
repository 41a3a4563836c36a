/** Reads images from the region, over a stream that is opened when the first image is wanted. */
import type { TlsMaterial } from '#base/identity.ts';
import { ReplicaClient } from '#base/rpc/replicas.ts';
import { regionContract } from '#contracts/region.ts';
import type { AgentConfig } from './config.ts';
import type { ReadChunk } from './image-cache.ts';
import { imageChunkTimeoutMs } from './limits.ts';

const connectTimeoutMs = 10_000;

export interface ImageSource {
  readonly read: ReadChunk;
  close(): void;
}

export const openImageSource = (at: readonly AgentConfig['region'][], tls: TlsMaterial): ImageSource => {
  let client: ReplicaClient<Record<never, never>, typeof regionContract> | undefined;
  const dial = () =>
    new ReplicaClient({
      tls,
      at,
      expect: 'spiffe://pando/region/',
      remote: regionContract,
      contract: {},
      handlers: {},
    });
  return {
    read: async (digest, file, offset, length) => {
      client ??= dial();
      await client.ready(connectTimeoutMs);
      const { data } = await client.call(
        'region.imageChunk',
        { digest, file, offset, length },
        { timeoutMs: imageChunkTimeoutMs },
      );
      return Buffer.from(data, 'base64');
    },
    close: () => client?.close(),
  };
};
