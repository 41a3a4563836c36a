import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetDev } from '#card/kernel/netDev.ts';

test('traffic of devices, as the kernel lists it', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
 tap0: 9152     101    0    0    0     0          0         0     1296      16    0    3    0     0       0          0
tap1:1 2 0 0 0 0 0 0 12345678901 4 0 5 0 0 0 0
`;
  assert.deepEqual(
    [...parseNetDev(text)],
    [
      ['lo', { rx: { bytes: 0, packets: 0 }, tx: { bytes: 0, packets: 0, dropped: 0, errors: 0 } }],
      [
        'tap0',
        { rx: { bytes: 9152, packets: 101 }, tx: { bytes: 1296, packets: 16, dropped: 3, errors: 0 } },
      ],
      [
        'tap1',
        { rx: { bytes: 1, packets: 2 }, tx: { bytes: 12345678901, packets: 4, dropped: 5, errors: 0 } },
      ],
    ],
  );
  assert.equal(parseNetDev('').size, 0);
  assert.equal(parseNetDev('x: 1 2 3').size, 0);
});
