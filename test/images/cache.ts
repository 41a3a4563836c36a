import { join } from 'node:path';

const cache = process.env.PANDO_CACHE ?? '/var/cache/pando';

/** Where tests keep images and downloads between runs. */
export const imageCache = { outDir: join(cache, 'images'), cacheDir: join(cache, 'downloads') };
