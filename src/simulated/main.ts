/**
 * The process of a simulated region: `node src/simulated/main.ts --config FILE`. Tells its parent over Node's channel what it does and when
 * it is ready. The store is started while the rest of the code is still being loaded.
 */
import { mkdirSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { loadConfig } from '#base/config.ts';
import { simulatedConfig } from './config.ts';
import type { SimulatedRegion } from './region.ts';

const config = loadConfig(simulatedConfig);
mkdirSync(config.state, { recursive: true, mode: 0o700 });

const tell = (message: object): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
};

const { startSimulatedStore } = await import('./store.ts');
const { state, persist, cache, cells } = config;
const starting = startSimulatedStore({ state, persist, cache, cells, say: (line) => tell({ say: line }) });
// Told below, where it is waited for.
starting.catch(() => undefined);
const { startSimulatedRegion } = await import('./region.ts');

let region: SimulatedRegion | undefined;
let ended = false;
const end = async (code: number): Promise<void> => {
  if (ended) return;
  ended = true;
  await region?.end().catch(() => undefined);
  await starting.then((store) => store.server.stop()).catch(() => undefined);
  process.exit(code);
};
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end(0));
let ready = false;
// Nobody would know of a region whose starter went away before it was up, or who wanted it in front of him.
process.on('disconnect', () => {
  if (!ready || config.foreground) void end(0);
});

region = await starting
  .then((store) => startSimulatedRegion(config, store))
  .catch(async (error: unknown) => {
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    tell({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error), taken });
    await starting.then((store) => store.server.stop()).catch(() => undefined);
    process.exit(1);
  });
ready = true;
// Now, and not only at a clean end: whoever starts it next may have killed it.
flushCompileCache();
const { regionPort, cellPorts, imageId, account } = region;
tell({ ready: { regionPort, cellPorts, imageId, account } });
