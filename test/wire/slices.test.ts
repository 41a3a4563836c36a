/** What is done with a request of many values is done in slices of so many: counted, never timed. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeForm, decodeFormInSlices, decodeRequest } from '#wire/decode.ts';
import { parseForm } from '#wire/form.ts';
import { SliceOfValues, sliceValues } from '#wire/slices.ts';
import { reviveInput, reviveInputInTurns, toTransport, toTransportInSlices } from '#wire/transport.ts';

const counted = <T>(work: Generator<undefined, T>): { readonly result: T; readonly slices: number } => {
  for (let slices = 1; ; slices += 1) {
    const step = work.next();
    if (step.done === true) return { result: step.value, slices };
  }
};

const launch = 'Action=RunInstances&Version=2016-11-15&MinCount=1&MaxCount=1&ImageId=ami-0';
/** One list of many values; many short lists; structures inside each other. Each has so many values. */
const values = 4_000;
const shapes: Readonly<Record<string, string>> = {
  'lists of texts': Array.from(
    { length: values },
    (_, at) => `&NetworkInterface.${at % 40}.SecurityGroupId.${Math.floor(at / 40)}=sg-${at}`,
  ).join(''),
  'structures in lists in structures': Array.from(
    { length: values / 2 },
    (_, at) =>
      `&TagSpecification.${at % 4}.Tag.${at}.Key=k${at}&TagSpecification.${at % 4}.Tag.${at}.Value=v`,
  ).join(''),
};

describe('a request of many values', () => {
  for (const [name, parameters] of Object.entries(shapes))
    it(`is decoded and made JSON of a slice at a time, to the same end: ${name}`, async () => {
      const form = parseForm(launch + parameters);
      const decoded = counted(decodeFormInSlices(form));
      assert.deepEqual(decoded.result, decodeForm(form));
      assert.ok(decoded.slices > values / sliceValues, `decoded in ${decoded.slices} slices`);
      const { action, input } = decoded.result;
      const sent = counted(toTransportInSlices(action, input));
      assert.deepEqual(sent.result, toTransport(action, input));
      assert.ok(sent.slices > values / sliceValues, `made JSON of in ${sent.slices} slices`);
    });

  it('is read by its backend with turns for others between', async () => {
    const form = launch + (shapes['structures in lists in structures'] ?? '');
    const { action, input } = decodeRequest(form);
    const sent = toTransport(action, input);
    let turns = 0;
    let over = false;
    const turn = (): void => {
      turns += 1;
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    const revived = await reviveInputInTurns(action, sent);
    over = true;
    assert.deepEqual(revived, reviveInput(action, sent));
    assert.ok(turns >= values / sliceValues, `${turns} turns of others`);
  });

  it('has its slices over all of it, however it is nested', () => {
    const slice = new SliceOfValues();
    const ends = Array.from({ length: 3 * sliceValues }, () => slice.ends());
    assert.equal(ends.filter(Boolean).length, 3);
  });

  it('is refused by the limits that hold for every action before any backend gets it', () => {
    const filters = (count: number, values: number) =>
      Array.from({ length: count }, (_, at) => `&Filter.${at}.Name=vpc-id`).join('') +
      Array.from({ length: values }, (_, at) => `&Filter.1.Value.${at}=v`).join('');
    const decode = (form: string) => decodeRequest(`Action=DescribeInstances&Version=2016-11-15${form}`);
    decode(filters(50, 200));
    assert.throws(() => decode(filters(51, 1)), { code: 'FilterLimitExceeded' });
    assert.throws(() => decode(filters(1, 201)), { code: 'FilterLimitExceeded' });
  });
});
