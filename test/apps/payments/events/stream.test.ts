/** Live events: told after the COMMIT, in order, gone on from the last id that was seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsPath } from '#payments/contract/routes.ts';
import type { Phone } from '../support/phone.ts';
import { near, service } from '../support/service.ts';

/** Reads events until there are as many; answers them with their ids. */
async function read(phone: Phone, count: number, lastId?: string, whenOpen?: () => Promise<unknown>) {
  const stop = new AbortController();
  const response = await fetch(`${phone.url}${eventsPath}`, {
    headers: { cookie: phone.cookie, ...(lastId !== undefined && { 'last-event-id': lastId }) },
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)]),
  });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const events: { id: string; data: unknown }[] = [];
  let text = '';
  let isOpen = false;
  assert.ok(response.body);
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    if (!isOpen) void whenOpen?.();
    isOpen = true;
    text += chunk;
    events.length = 0;
    for (const block of text.split('\n\n')) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data !== undefined)
        events.push({ id: /^id: (.*)$/m.exec(block)?.[1] ?? '', data: JSON.parse(data) });
    }
    if (events.length >= count) break;
  }
  stop.abort();
  return events;
}

test('both sides hear of a payment; after a break, a stream goes on where it was', async () => {
  const on = await service();
  const [ana, ben, eve] = await Promise.all([on.phone('@ana'), on.phone('@ben'), on.phone('@eve')]);
  await ana.report(near(0));
  await ben.report(near(5));
  const pay = () => ana.pay({ kind: 'contact', personId: ben.personId }, '100');
  const [first, second] = await read(ben, 2, undefined, pay);
  assert.ok(first && second);
  assert.deepEqual(
    [(first.data as { type: string }).type, (second.data as { type: string }).type],
    ['payment', 'balance'],
  );
  await pay();
  const missed = await read(ben, 3, first.id);
  assert.equal(missed[0]?.id, second.id, 'nothing is left out, nothing told twice');
  assert.equal(new Set(missed.map((event) => event.id)).size, 3);
  assert.equal(on.app.live.streams <= 2, true);
  const { rows } = await on.app.pool.query('select 1 from live_event where person_id = $1', [eve.personId]);
  assert.equal(rows.length, 0, 'a stranger hears nothing');
  const stranger = await fetch(`${on.url}${eventsPath}`);
  assert.equal(stranger.status, 401);
});
