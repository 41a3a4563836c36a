/** S9 on Pando: the payments image is launched through the EC2 API, and a live migration in mid-payment loses none and pays none twice. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ensureImage } from '#cli/commands/image.ts';
import { Phone } from '../apps/payments/support/phone.ts';
import { near } from '../apps/payments/support/service.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';
import { vmmOf, vmmsOf } from './support/vmm.ts';

const operatorToken = 'operator-token-of-a-test';
/** Node and PostgreSQL start within minutes under emulation on a busy machine. */
const bootMs = 10 * 60_000;
const moves = 2;
const reportEveryMs = 10_000;

describe('payments on Pando', { timeout: 30 * 60_000 }, () => {
  let region: TestRegion;
  let instanceId: string;
  let url: string;

  before(async () => {
    region = await startRegion();
    const { dir } = await ensureImage('payments', () => {});
    const imageId = await region.cloud.register('payments', dir);
    const network = await region.cloud.network('10.91.0.0/16', [80]);
    const userData = `PAYMENTS_MODE=demo\nPAYMENTS_OPERATOR_TOKEN=${operatorToken}\n`;
    const ids = await region.cloud.launch({ network, type: 'custom.1000m.512', imageId, userData });
    const [vm] = await region.cloud.reach('running', ids);
    assert.ok(vm);
    instanceId = vm.instanceId;
    url = `http://${vm.publicIp}`;
    await until('the pages', async () => (await fetch(url)).ok, bootMs);
  });

  after(() => region?.[Symbol.asyncDispose]());

  it(`pays all through ${moves} live migrations`, async (t) => {
    const [ana, ben] = await Promise.all(['@ana', '@ben'].map((handle) => Phone.demo(url, handle)));
    assert.ok(ana && ben);
    const totalBefore = (await ana.balance()) + (await ben.balance());
    const anaBefore = await ana.balance();
    let reportedAt = Number.NEGATIVE_INFINITY;
    /** As the pages do: a decision is made about where both are now. */
    const report = async (): Promise<void> => {
      if (performance.now() - reportedAt < reportEveryMs) return;
      await ana.report(near(5));
      await ben.report(near(15));
      reportedAt = performance.now();
    };

    let moved = 0;
    const paid: string[] = [];
    const longest = { ms: 0 };
    const payer = (async () => {
      while (moved < moves || paid.length < 20) {
        await report();
        const began = performance.now();
        const payment = await ana.pay({ kind: 'contact', personId: ben.personId }, '1');
        longest.ms = Math.max(longest.ms, performance.now() - began);
        assert.equal(payment.state, 'completed', `reasons ${payment.reasons.join(', ')}`);
        paid.push(payment.paymentId);
      }
    })();
    await Promise.race([payer, until('the first payments', () => paid.length > 3)]);
    while (moved < moves) {
      const from = vmmOf(instanceId).host;
      const before = paid.length;
      await Promise.race([payer, region.pando('migrate', instanceId)]);
      await until('one copy on another host', () => {
        const [only, ...more] = vmmsOf(instanceId);
        return only !== undefined && more.length === 0 && only.host !== from;
      });
      await Promise.race([payer, until('payments to go on', () => paid.length > before + 2)]);
      moved++;
    }
    await payer;
    t.diagnostic(`${paid.length} payments, the slowest ${longest.ms.toFixed(0)} ms`);

    assert.equal(new Set(paid).size, paid.length);
    assert.equal(anaBefore - (await ana.balance()), BigInt(paid.length), 'each payment was booked once');
    assert.equal((await ana.balance()) + (await ben.balance()), totalBefore);
    const operator = new Phone(url);
    await operator.call('operatorSignIn', { token: operatorToken });
    const health = await operator.call('operatorLedger');
    assert.deepEqual(
      health.sums.map((each) => each.sumMinor),
      health.sums.map(() => '0'),
      'money was made or lost (I10)',
    );
    assert.deepEqual(health.drifted, []);
    assert.equal(health.paymentsLastHour, paid.length);
  });
});
