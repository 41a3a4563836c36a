import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ImageCache, type ImageCacheOptions } from '#agent/image-cache.ts';
import { ImagePins, imagesInUse } from '#agent/image-pins.ts';
import { imageChunkBytes } from '#agent/limits.ts';
import { manifestDigest } from '#contracts/image-manifest.ts';

const mib = 1024 * 1024;

/** An image with these files, and how it is read. */
const imageOf = (disk: Buffer, path = 'disk.qcow2') => {
  const sha256 = createHash('sha256').update(disk).digest('hex');
  const described = {
    name: 'n',
    description: '',
    architecture: 'x86_64',
    bootMode: 'bios',
    files: { disk: { path, sha256, bytes: disk.length, virtualBytes: mib, format: 'qcow2' } },
    minMemoryMib: 1,
  };
  const digest = manifestDigest(described);
  return { digest, disk, manifest: Buffer.from(JSON.stringify({ ...described, digest })) };
};

describe('the image cache (S1.6)', () => {
  let dir: string;
  let images: Map<string, ReturnType<typeof imageOf>>;
  let read: string[];
  const used = new Set<string>();
  beforeEach(async () => {
    dir = await mkdtemp(join(os.tmpdir(), 'pa-'));
    images = new Map();
    read = [];
    used.clear();
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const add = (disk: Buffer, path?: string): string => {
    const image = imageOf(disk, path);
    images.set(image.digest, image);
    return image.digest;
  };
  const cache = (bytesMax = 100 * mib, changes: Partial<Pick<ImageCacheOptions, 'inUse' | 'discard'>> = {}) =>
    new ImageCache({
      dir,
      bytesMax,
      owner: 'test',
      inUse: () => used,
      read: async (digest, file, offset, length) => {
        read.push(file);
        const image = images.get(digest);
        const data = file === 'manifest' ? image?.manifest : image?.disk;
        return data?.subarray(offset, offset + length) ?? Buffer.alloc(0);
      },
      ...changes,
    });

  it('fetches once for all who ask at the same time, keeps holes, and nothing the second time', async () => {
    const disk = Buffer.concat([randomBytes(mib), Buffer.alloc(8 * mib), randomBytes(12_345)]);
    const digest = add(disk);
    const images = cache();
    const results = await Promise.all([images.ensure(digest), images.ensure(digest), images.ensure(digest)]);
    assert.ok(results.every(Boolean));
    const reads = 1 + Math.ceil(disk.length / imageChunkBytes);
    assert.equal(read.length, reads);
    const found = await images.get(digest);
    const file = join(found?.dir ?? '', 'disk.qcow2');
    assert.ok((await readFile(file)).equals(disk));
    assert.ok((await stat(file)).blocks * 512 < 4 * mib);
    assert.equal(await cache().ensure(digest), false);
    assert.equal(read.length, reads);
  });

  it('refuses bytes that do not have the digest, and keeps nothing of them', async () => {
    const digest = add(randomBytes(2 * mib));
    const image = images.get(digest);
    image?.disk.writeUInt8((image.disk.readUInt8(mib + 7) + 1) % 256, mib + 7);
    await assert.rejects(cache().ensure(digest), /does not have its digest/);
    assert.deepEqual(await readdir(dir), []);
    await assert.rejects(cache().ensure(add(randomBytes(10), '../evil')));
    await assert.rejects(cache().get('../../etc'), /hex digits/);
  });

  it('makes room with the image used longest ago, never with one in use', async () => {
    const [first, second, third] = [add(randomBytes(mib)), add(randomBytes(mib)), add(randomBytes(mib))];
    const images = cache(2.5 * mib);
    for (const [at, digest] of [first, second].entries()) {
      await images.ensure(digest);
      await utimes(join(dir, digest), at, at);
    }
    used.add(first);
    await images.ensure(third);
    assert.deepEqual((await readdir(dir)).sort(), [first, third].sort());
    used.add(third);
    await assert.rejects(images.ensure(second), /full/);
  });

  it('makes no room where it is not known which images are in use', async () => {
    const [first, second] = [add(randomBytes(mib)), add(randomBytes(mib))];
    const images = cache(1.5 * mib, { inUse: () => undefined });
    await images.ensure(first);
    await assert.rejects(images.ensure(second), /full/);
    assert.deepEqual(await readdir(dir), [first]);
  });

  it('looks at each image anew: one that a launch takes while another is removed stays; one that leaves is fetched again', async () => {
    const [first, second] = [add(randomBytes(mib)), add(randomBytes(mib))];
    const [leaves, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const images = cache(3.5 * mib, {
      discard: async (path) => {
        leaves.resolve();
        await gone.promise;
        await rm(path, { recursive: true });
      },
    });
    for (const [at, digest] of [first, second].entries()) {
      await images.ensure(digest);
      await utimes(join(dir, digest), at, at);
    }
    const big = add(randomBytes(3 * mib));
    const fetched = images.ensure(big);
    await leaves.promise;
    // A launch pins its image and makes sure of it.
    used.add(second);
    assert.equal(await images.ensure(second), false);
    const again = images.ensure(first);
    gone.resolve();
    await assert.rejects(fetched, /full/);
    assert.deepEqual([await again, (await readdir(dir)).sort()], [true, [first, second].sort()]);
  });

  it('knows what is in use by the records of all VMs, and not where one was lost or the directory is shared', () => {
    const pins = new ImagePins();
    pins.pin('i-1', 'c');
    const own = { stateDir: '/s', imageCacheDir: '/s/images' };
    const of = (digest: string) => ({ image: { imageId: 'ami-1', digest } });
    assert.deepEqual(
      imagesInUse(own, [of('a'), {}, { recovered: true, ...of('b') }], pins),
      new Set(['a', 'b', 'c']),
    );
    assert.equal(imagesInUse(own, [of('a'), { recovered: true }], pins), undefined);
    assert.equal(imagesInUse({ ...own, imageCacheDir: '/images' }, [of('a')], pins), undefined);
  });
});
