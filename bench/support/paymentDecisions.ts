/**
 * Decisions and payments through HTTP, as phones see them. A decision: the payer's and the payee's location proofs are read, the
 * decision is made, stored with its inputs, and answered. Where it allows, money is booked in the same transaction: told apart below.
 */
import { Agent, request } from 'node:http';
import { square } from '#payments/demo/demo.ts';
import { moved } from '#payments/location/geodesic.ts';
import { openPool } from '#payments/store/pool.ts';
import { Phone } from '../../test/apps/payments/support/phone.ts';
import { atRate, latencies, perSecond } from './latencies.ts';
import { postgresCpuMs, type ServiceApart, serviceApart } from './serviceApart.ts';

/** Requests before the clock runs: the service's code is compiled while it runs, and each connection prepares its statements. */
const warmUps = 600;
/** A phone reports where it is after so many of its payments: older positions are no proofs. */
const reportEvery = 100;
/** Payments that wait for their answers at once: beyond it the rate is more than the machine can do. */
const unfinishedMax = 500;
const metresFar = 5_000;
const metresNear = 10;

const agent = new Agent({ keepAlive: true });

interface Sent {
  readonly ms: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A request of the phone's session with the time until its whole answer is here. What the phone does before (signing) does not count. */
function timedSend(phone: Phone, path: string, kind: string, body?: object, status = 200): Promise<Sent> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    cookie: phone.cookie,
    'x-bench': kind,
    'idempotency-key': crypto.randomUUID(),
    ...(payload !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(payload),
    }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<Sent>();
  const begun = performance.now();
  const outgoing = request(
    `${phone.url}${path}`,
    { agent, headers, method: payload === undefined ? 'GET' : 'POST' },
    (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.once('error', reject).once('end', () => {
        const ms = performance.now() - begun;
        if (answer.statusCode !== status) return reject(new Error(text));
        resolve({ ms, body: JSON.parse(text) });
      });
    },
  );
  outgoing.once('error', reject).end(payload);
  return promise;
}

/** People at the square, and one of them far away. */
interface Town {
  readonly people: readonly Phone[];
  readonly here: Phone;
  readonly away: Phone;
  pay(phone: Phone, expected: 'completed' | 'declined'): Promise<number>;
  report(): Promise<void>;
}

async function town(url: string): Promise<Town> {
  const cafe = await Phone.demo(url, '@cafe.luna');
  const { establishmentId = '' } = await cafe.call('me');
  const people: Phone[] = [];
  for (const handle of ['@ana', '@ben', '@cleo', '@dan']) people.push(await Phone.demo(url, handle));
  const away = await Phone.demo(url, '@eve');
  const [here] = people;
  if (here === undefined) throw new Error('nobody is there');
  for (const phone of [...people, away]) {
    const rules = await phone.call('rules');
    await phone.signed('setRules', 'rules.set', {
      rules: { ...rules, perDayMaxMinor: '100000000', onFar: 'decline' },
    });
  }
  return {
    people,
    here,
    away,
    report: async () => {
      for (const phone of people) await phone.report(moved(square, 90, metresNear));
      await away.report(moved(square, 90, metresFar));
    },
    pay: async (phone, expected) => {
      const { ms, body } = await timedSend(
        phone,
        '/v1/payments',
        expected,
        await phone.message('payment', {
          payee: { kind: 'establishment', establishmentId },
          money: { amountMinor: '1', currency: 'EUR' },
          note: '',
        }),
      );
      if (body.state !== expected) throw new Error(JSON.stringify(body));
      return ms;
    },
  };
}

/** One payment or decision a time, with what the machine asks for the same number of doors between them. */
async function oneAtATime(
  service: ServiceApart,
  { people, here, away, pay, report }: Town,
  databaseUrl: string,
  count: number,
): Promise<readonly (readonly string[])[]> {
  const pool = openPool({ url: databaseUrl, poolMax: 1 });
  await pool.query('create table bench_write (n int)');
  // What it saw while it was warming up does not count.
  await service.use();
  const [empty, write, decided, paid]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let at = 0; at < count; at += 1) {
    if (at % reportEvery === 0) await report();
    paid.push(await pay(people[at % people.length] ?? here, 'completed'));
    decided.push(await pay(away, 'declined'));
    empty.push((await timedSend(here, '/v1/nothing', 'empty', undefined, 404)).ms);
    const begun = performance.now();
    await pool.query('insert into bench_write values (1)');
    write.push(performance.now() - begun);
  }
  await pool.end();
  const { servedMs, pausesMs } = await service.use();
  return [
    ['an HTTP call that finds nothing', latencies(empty)],
    ['one row written and committed', latencies(write)],
    ['decision by both positions, stored and answered through HTTP', latencies(decided)],
    ['  of that, in the service', latencies(servedMs.declined ?? [])],
    ['decision and booking of money, through HTTP', latencies(paid)],
    ['  of that, in the service', latencies(servedMs.completed ?? [])],
    [
      `  garbage collections in the service: ${pausesMs.length} in ${count * 2} decisions`,
      latencies(pausesMs),
    ],
  ];
}

/** Processor time of one decision without and with a booking: of the service, and of PostgreSQL. */
async function processorTime(
  service: ServiceApart,
  postgresPid: number,
  { here, away, pay, report }: Town,
  count: number,
): Promise<readonly (readonly string[])[]> {
  const rows: (readonly string[])[] = [];
  for (const [name, phone, state] of [
    ['decision', away, 'declined'],
    ['decision and booking', here, 'completed'],
  ] as const) {
    await report();
    const [cpuMs, storeMs] = [(await service.use()).cpuMs, postgresCpuMs(postgresPid)];
    for (let at = 0; at < count; at += 1) await pay(phone, state);
    const [own, store] = [(await service.use()).cpuMs - cpuMs, postgresCpuMs(postgresPid) - storeMs];
    rows.push([
      `  processor time of a ${name}: service, PostgreSQL`,
      `${(own / count).toFixed(2)} ms, ${(store / count).toFixed(2)} ms`,
    ]);
  }
  return rows;
}

/** What the service does at most with every phone paying at once; and then at half of that, how long each waits for its answer. */
async function underLoad(
  service: ServiceApart,
  postgresPid: number,
  { people, here, away, pay, report }: Town,
  forMs: number,
): Promise<readonly (readonly string[])[]> {
  const lanes = people.length * 2;
  await report();
  const most = await perSecond(lanes, forMs, (lane) =>
    pay(people[lane % people.length] ?? here, 'completed'),
  );
  await report();
  const rate = most / 2;
  const count = Math.floor((rate * forMs) / 1_000);
  const [cpuMs, storeMs] = [(await service.use()).cpuMs, postgresCpuMs(postgresPid)];
  const [paid, declined]: [number[], number[]] = [[], []];
  const begun = performance.now();
  await atRate(rate, count, unfinishedMax, async (at) => {
    // By turns, so that each payer's come one after another: payments of one account wait for each other.
    const payer = [...people, away][at % (people.length + 1)] ?? here;
    if (payer === away) declined.push(await pay(payer, 'declined'));
    else paid.push(await pay(payer, 'completed'));
  });
  const spentMs = performance.now() - begun;
  const used = (await service.use()).cpuMs - cpuMs + postgresCpuMs(postgresPid) - storeMs;
  return [
    [`payments end to end, ${people.length} people, ${lanes} at once`, `${most.toFixed(0)} /s`],
    [`under load, ${rate.toFixed(0)} begun a second (half of that): decision`, latencies(declined)],
    ['  decision and booking', latencies(paid)],
    ['  processors that the service and PostgreSQL took together', (used / spentMs).toFixed(2)],
  ];
}

export async function paymentDecisions(
  databaseUrl: string,
  postgresPid: number,
  quick: boolean,
): Promise<readonly (readonly string[])[]> {
  const service = await serviceApart(databaseUrl);
  try {
    const there = await town(service.url);
    await there.report();
    for (let at = 0; at < warmUps; at += 2) {
      await there.pay(there.here, 'completed');
      await there.pay(there.away, 'declined');
    }
    const latency = await oneAtATime(service, there, databaseUrl, quick ? 500 : 2_000);
    const cpu = await processorTime(service, postgresPid, there, quick ? 200 : 1_000);
    const loaded = await underLoad(service, postgresPid, there, quick ? 3_000 : 10_000);
    return [
      ...latency,
      ...cpu,
      ...loaded,
      ['memory of the service', `${((await service.use()).rssBytes / 2 ** 20).toFixed(0)} MiB`],
    ];
  } finally {
    agent.destroy();
    await service.close();
  }
}
