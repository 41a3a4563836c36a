import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { manifestDigest } from '#contracts/image-manifest.ts';
import { buildDefaultImage } from '../../images/build.ts';
import { describeFile, readManifest } from '../../images/lib/manifest.ts';
import { publish } from '../../images/lib/publish.ts';
import { imageCache } from './cache.ts';

let outDir = '';
before(async () => {
  outDir = await mkdtemp(join(tmpdir(), 'pando-images-'));
});
after(() => rm(outDir, { recursive: true, force: true }));

test('the default image: its manifest holds, and a second build changes nothing', async () => {
  const first = await buildDefaultImage(imageCache);
  const manifest = await readManifest(first.dir, 'hash');
  assert.deepEqual(manifest, first.manifest);
  assert.equal(manifestDigest(first.manifest), first.manifest.digest);
  assert.equal(first.manifest.bootMode, 'direct-kernel');
  const before = await stat(join(first.dir, 'manifest.json'));
  const second = await buildDefaultImage(imageCache);
  assert.equal(second.built, false);
  assert.equal((await stat(join(first.dir, 'manifest.json'))).ino, before.ino);
});

test('a torn image is built again, and nothing is left beside it', async () => {
  const whole = await buildDefaultImage(imageCache);
  await cp(whole.dir, join(outDir, 'pando-micro'), { recursive: true });
  await truncate(join(outDir, 'pando-micro/disk.qcow2'), 4096);
  const again = await buildDefaultImage({ outDir, cacheDir: imageCache.cacheDir });
  assert.equal(again.built, true);
  assert.notEqual(await readManifest(again.dir, 'hash'), undefined);
  assert.equal(again.manifest.recipe, whole.manifest.recipe);
  assert.deepEqual(await readdir(outDir), ['pando-micro']);
});

test('a build that fails leaves the former image and no scratch', async () => {
  const make = (recipe: string, fail: boolean) =>
    publish('sample', recipe, { outDir, cacheDir: outDir }, async (dir) => {
      await writeFile(join(dir, 'disk.qcow2'), recipe);
      if (fail) throw new Error('the disk is full');
      const disk = { ...(await describeFile(dir, 'disk.qcow2')), virtualBytes: 1, format: 'qcow2' as const };
      return { description: '', architecture: 'x86_64', bootMode: 'bios', files: { disk }, minMemoryMib: 1 };
    });
  const first = await make('one', false);
  await assert.rejects(make('two', true), /the disk is full/);
  assert.deepEqual(await readManifest(first.dir, 'hash'), first.manifest);
  assert.equal((await readdir(outDir)).filter((entry) => entry.startsWith('.')).length, 0);
  assert.equal((await make('two', false)).built, true);
  assert.equal(await readFile(join(first.dir, 'disk.qcow2'), 'utf8'), 'two');
});

test('scratch of a builder that was killed is removed, that of a living one is not', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-scratch-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const dead = spawnSync('true').pid;
  for (const pid of [dead, process.pid]) await mkdir(join(dir, `.sample.${pid}.abcdef`));
  await publish('sample', 'one', { outDir: dir, cacheDir: dir }, async (into) => {
    await writeFile(join(into, 'disk.qcow2'), 'x');
    const disk = { ...(await describeFile(into, 'disk.qcow2')), virtualBytes: 1, format: 'qcow2' as const };
    return { description: '', architecture: 'x86_64', bootMode: 'bios', files: { disk }, minMemoryMib: 1 };
  });
  assert.deepEqual((await readdir(dir)).sort(), [`.sample.${process.pid}.abcdef`, 'sample']);
});

test('where apt cannot be asked, the image that stands is used, and said so', async () => {
  const { dir } = await buildDefaultImage(imageCache);
  await cp(dir, join(outDir, 'pando-micro'), { recursive: true });
  const config = join(outDir, 'apt.conf');
  await writeFile(config, 'this is no configuration {');
  const former = process.env.APT_CONFIG;
  const said: string[] = [];
  try {
    process.env.APT_CONFIG = config;
    const options = { outDir, cacheDir: join(outDir, 'cache'), log: (line: string) => said.push(line) };
    const { built, manifest } = await buildDefaultImage(options);
    assert.equal(built, false);
    assert.deepEqual(manifest, await readManifest(dir));
    assert.match(said.join(), /apt could not be asked/);
    await rm(join(outDir, 'pando-micro'), { recursive: true });
    await assert.rejects(buildDefaultImage(options));
  } finally {
    if (former === undefined) delete process.env.APT_CONFIG;
    else process.env.APT_CONFIG = former;
  }
});

test('a manifest that was tampered with is no manifest', async () => {
  const { dir } = await buildDefaultImage(imageCache);
  const copy = join(outDir, 'tampered');
  await cp(dir, copy, { recursive: true });
  const path = join(copy, 'manifest.json');
  await writeFile(path, (await readFile(path, 'utf8')).replace('"minMemoryMib": 64', '"minMemoryMib": 32'));
  assert.equal(await readManifest(copy), undefined);
});
