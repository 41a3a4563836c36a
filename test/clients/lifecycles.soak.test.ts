/** A VM's life through each SDK that Debian has beside boto3: launch, describe, tag, stop, start, terminate. */
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ClientRegion, hasPackages, startClientRegion, supportFile } from './support/clients.ts';

const timeout = 8 * 60_000;

describe('a VM lives through', () => {
  let region: ClientRegion;
  before(async () => {
    region = await startClientRegion();
  });
  after(() => region.close());

  const goOf = async (version: string): Promise<void> => {
    const program = path.join(region.home, `lifecycle-${version}`);
    const go = {
      GO111MODULE: 'off',
      GOPATH: '/usr/share/gocode',
      GOFLAGS: '-p=1',
      GOCACHE: path.join(region.home, 'go'),
    };
    await region.run('go', ['build', '-o', program, supportFile(`lifecycle_${version}.go`)], go);
    await region.run(program, []);
  };

  it('AWS SDK for Go, version 1', { timeout }, async (t) => {
    if (await hasPackages(t, 'golang-go', 'golang-github-aws-aws-sdk-go-dev')) await goOf('v1');
  });

  it('AWS SDK for Go, version 2', { timeout }, async (t) => {
    if (await hasPackages(t, 'golang-go', 'golang-github-aws-aws-sdk-go-v2-dev')) await goOf('v2');
  });

  it('fog', { timeout }, async (t) => {
    if (await hasPackages(t, 'ruby-fog-aws')) await region.run('ruby', [supportFile('lifecycle.rb')]);
  });

  it('libcloud', { timeout }, async (t) => {
    if (await hasPackages(t, 'python3-libcloud'))
      await region.run('/usr/bin/python3', [supportFile('lifecycle.py')]);
  });

  it('boto3: every waiter and paginator that it knows', { timeout }, async (t) => {
    if (!(await hasPackages(t, 'python3-boto3'))) return;
    const lines = (await region.run('/usr/bin/python3', [supportFile('waiters.py')])).split('\n');
    const walked = lines.filter((line) => line.startsWith('paginator') && line.endsWith('pages'));
    t.diagnostic(`${walked.length} paginators walked`);
  });
});
