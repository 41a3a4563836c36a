/** The webhook sender's fence on a kernel: what its user reaches, and that it notices when the fence is gone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { exec } from '#base/exec.ts';
import { webhookFence } from '#lab/webhookFence.ts';
import { confined } from '#node/confine.ts';
import { codeDirectory } from '#node/directory.ts';
import { userOf } from '#node/users.ts';

const runIndex = 97;
const user = userOf(runIndex, { role: 'webhooks' });
const addresses = ['198.18.0.1', '127.0.0.1', '10.9.9.9', '203.0.113.5', '93.184.215.14'];
const port = 8_123;

/** Tries each address as the sender's user, by the sender's own code. */
const tries = `
  import { Fence, isReached } from '${join(codeDirectory, 'src/webhooks/fence.ts')}';
  import { sendWebhook } from '${join(codeDirectory, 'src/webhooks/send.ts')}';
  import { parseRanges } from '${join(codeDirectory, 'src/base/publicAddress.ts')}';
  const everywhere = { allowed: parseRanges(['0.0.0.0/0']) };
  const silent = { error: () => {} };
  const found = { sent: [], reached: [], fenced: await new Fence({ host: '198.18.0.1', port: ${port} }, silent).closed() };
  for (const host of ${JSON.stringify(addresses)}) {
    if (await isReached({ host, port: ${port} })) found.reached.push(host);
    const url = 'http://' + host + ':${port}/';
    const { outcome } = await sendWebhook({ url, headers: {}, body: '{}', timeoutMs: 2000 }, everywhere);
    if (outcome === 'delivered') found.sent.push(host);
  }
  console.log(JSON.stringify(found));
  process.exit(0);`;

const serve = `require('node:http').createServer((q, a) => a.end()).listen(${port}, '0.0.0.0')`;
const word = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const inNamespace = async (
  rules: string,
): Promise<{ sent: string[]; reached: string[]; fenced: boolean }> => {
  const node = process.execPath;
  const asSender = confined({ user }, [node, '--input-type=module', '-e', tries]);
  const script = [
    'set -eu; ip link set lo up',
    ...addresses.filter((one) => one !== '127.0.0.1').map((one) => `ip address add ${one}/32 dev lo`),
    `nft -f - <<'RULES'\n${rules}RULES`,
    `${word(node)} -e ${word(serve)} & server=$!`,
    `until ${word(node)} -e ${word(`fetch('http://127.0.0.1:${port}/').then(() => process.exit(0), () => process.exit(1))`)}; do :; done`,
    `${asSender.map(word).join(' ')}; kill $server`,
  ].join('\n');
  const { stdout } = await exec('unshare', ['--net', 'sh', '-c', script], { timeoutMs: 60_000 });
  return JSON.parse(stdout);
};

test('the sender’s user reaches public addresses alone, whatever its code would allow', async () => {
  assert.deepEqual(await inNamespace(webhookFence('pd97', user.uid, [])), {
    sent: ['93.184.215.14'],
    reached: ['93.184.215.14'],
    fenced: true,
  });
});

test('a range that the operator allows is open; the networks of runs are in none', async () => {
  const found = await inNamespace(webhookFence('pd97', user.uid, ['203.0.113.0/24', '0.0.0.0/0', '::/0']));
  assert.deepEqual(
    found.sent,
    addresses.filter((one) => one !== '198.18.0.1'),
  );
  assert.equal(found.fenced, true);
});

test('a fence that is gone is noticed', async () => {
  const found = await inNamespace('');
  assert.deepEqual(found, { sent: addresses, reached: addresses, fenced: false });
});
