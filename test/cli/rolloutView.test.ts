/** How the command line shows what would change in the kernels of devices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { kernelLines } from '#cli/rolloutView.ts';
import type { KernelShown } from '#contracts/rollout.ts';

const nothing: KernelShown = { differences: [], more: 0, unchanged: 0, unsaid: [], notAsked: 0 };
const shown = (more: Partial<KernelShown>): string[] =>
  kernelLines({ ...nothing, ...more }).map(stripVTControlCharacters);

test('the same difference once, with the devices and namespaces that have it', () => {
  const lines = ['- ip link vx0 mtu 1450', '+ ip link vx0 mtu 1400'];
  const difference = { lines, more: 0, devices: ['card/a', 'card/b'], deviceCount: 12 };
  assert.deepEqual(
    shown({
      differences: [
        { ...difference, vpcIds: ['vpc-1'], namespaces: 40 },
        { ...difference, vpcIds: [], namespaces: 12, deviceCount: 2, more: 7 },
      ],
    }),
    [
      '  card/a card/b … (12 in all), in vpc-1 … (40 in all):',
      '    - ip link vx0 mtu 1450',
      '    + ip link vx0 mtu 1400',
      '  card/a card/b, own namespace:',
      '    - ip link vx0 mtu 1450',
      '    + ip link vx0 mtu 1400',
      '    … and 7 lines more',
    ],
  );
});

test('what is not shown is said: devices without a change, without an answer, beyond the bound', () => {
  const unsaid = [{ why: 'It cannot be reached now.', devices: ['card/c'], deviceCount: 1 }];
  assert.deepEqual(shown({ unchanged: 3, unsaid, notAsked: 5, more: 2 }), [
    "  … and 2 differences more: --device shows one device's",
    '  no change in the kernel of 3 devices',
    '  card/c: It cannot be reached now.',
    '  5 devices more were not asked',
  ]);
});
