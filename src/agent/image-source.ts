/** Reads images from the region, over a stream that is opened when the first image is wanted. */
import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { regionContract } from '#contracts/region.ts';
import type { AgentConfig } from './config.ts';
import type { ReadChunk } from './image-cache.ts';
import { imageChunkTimeoutMs } from './limits.ts';

const connectTimeoutMs = 10_000;

export interface ImageSource {
  readonly read: ReadChunk;
  close(): void;
}

export const openImageSource = (region: AgentConfig['region'], tls: TlsMaterial): ImageSource => {
  let client: RpcClient<Record<never, never>, typeof regionContract> | undefined;
  const dial = () =>
    new RpcClient({
      tls,
      host: region.host,
      port: region.port,
      expect: region.identity,
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
